use aitbc_common::hash::Sha256Stream;
use aitbc_common::layouts::StreamCheckpoint;
use aitbc_common::limits::{CHUNK_BYTES, OUTPUT_BYTES};
use aitbc_proto::v1::{Output, OutputKind, Resend};
use prost::Message;

use super::*;

fn output(up: &Up) -> Option<&Output> {
    if let Up::Output(part) = up {
        Some(part)
    } else {
        None
    }
}

fn outputs(sent: &[Up]) -> Vec<&Output> {
    sent.iter().filter_map(output).collect()
}

fn running() -> Rig {
    let mut rig = Rig::open(2);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.sent();
    rig
}

#[test]
fn the_first_chunk_goes_at_once_and_the_rest_waits_for_256_bytes_or_40_ms() {
    let mut rig = running();
    rig.output(key(1, 1), "a", 1);
    assert_eq!(outputs(&rig.sent()).len(), 1);
    rig.output(key(1, 1), "b", 2);
    assert!(rig.sent().is_empty());
    assert_eq!(
        rig.core.next_flush(),
        Some(rig.now + Duration::from_millis(40))
    );
    rig.pass(Duration::from_millis(40));
    let sent = rig.sent();
    assert_eq!(
        (outputs(&sent)[0].offset, &outputs(&sent)[0].data[..]),
        (1, &b"b"[..])
    );
    rig.output(key(1, 1), &"c".repeat(255), 3);
    assert!(rig.sent().is_empty());
    rig.output(key(1, 1), "c", 4);
    assert_eq!(outputs(&rig.sent())[0].data.len(), 256);
}

#[test]
fn what_an_agent_puts_out_goes_at_once() {
    let mut rig = Rig::open(2);
    let agents = assign_with(key(1, 1), |_, spec| spec.job_type = JobType::Agent);
    rig.down(Down::Assign(agents));
    rig.sent();
    for (offset, event) in ["a", "b", "c"].into_iter().enumerate() {
        rig.output(key(1, 1), event, 1);
        assert!(rig.core.next_flush() <= Some(rig.now));
        let sent = rig.sent();
        let [part] = &outputs(&sent)[..] else {
            panic!("{sent:?}");
        };
        assert_eq!(
            (part.offset, &part.data[..]),
            (offset as u64, event.as_bytes())
        );
    }
    assert_eq!(rig.core.next_flush(), None);
}

#[test]
fn checkpoints_come_each_second_right_after_the_bytes_they_cover() {
    let mut rig = running();
    let mut hash = Sha256Stream::default();
    let mut checked = 0;
    for step in 0..100_u32 {
        rig.output(key(1, 1), "token ", step + 1);
        rig.pass(Duration::from_millis(50));
        for up in rig.sent() {
            match up {
                Up::Output(part) => {
                    assert_eq!(part.offset, hash.len());
                    hash.update(&part.data);
                }
                Up::Checkpoint(message) => {
                    let checkpoint = StreamCheckpoint::decode(&message.checkpoint).unwrap();
                    assert!(checkpoint.verify(&miner().public(), &message.signature));
                    assert_eq!(
                        (checkpoint.offset, checkpoint.hash),
                        (hash.len(), hash.digest())
                    );
                    assert!(checkpoint.work_ms >= 1_000 * (checked + 1));
                    checked += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(checked, 5, "one a second, none without output");
    rig.pass(Duration::from_secs(2));
    rig.sent();
    rig.pass(Duration::from_secs(5));
    assert!(!rig.sent().iter().any(|up| matches!(up, Up::Checkpoint(_))));
}

#[test]
fn complete_follows_output_and_result_and_waits_for_the_spool() {
    let mut rig = running();
    rig.output(key(1, 1), "Hello!", 2);
    rig.handle(Event::Finished {
        key: key(1, 1),
        result: result("Hello!"),
    });
    let before = rig.sent();
    assert!(!before.iter().any(|up| matches!(up, Up::Complete(_))));
    assert_eq!(outputs(&before).len(), 2);
    let record = rig.store().remove(0);
    assert_eq!(outputs(&before)[1].data, record.result);
    assert_eq!(outputs(&before)[1].kind(), OutputKind::Result);
    assert!(matches!(&rig.sent()[..], [Up::Complete(complete)] if *complete == record.complete));
    assert!(rig.sent().is_empty(), "once");
}

#[test]
fn resend_goes_back_and_complete_comes_again() {
    let mut rig = running();
    rig.output(key(1, 1), "Hello!", 2);
    rig.handle(Event::Finished {
        key: key(1, 1),
        result: result("Hello!"),
    });
    rig.store();
    rig.sent();
    let resend = |kind: OutputKind, offset| {
        Down::Resend(Resend {
            job_id: key(1, 1).job.to_string(),
            attempt: 1,
            kind: kind as i32,
            offset,
        })
    };
    rig.down(resend(OutputKind::Output, 5));
    let sent = rig.sent();
    assert_eq!(
        (outputs(&sent)[0].offset, &outputs(&sent)[0].data[..]),
        (5, &b"!"[..])
    );
    assert!(matches!(sent.last(), Some(Up::Complete(_))));
    rig.down(resend(OutputKind::Result, u64::MAX));
    assert!(
        matches!(rig.sent()[..], [Up::Complete(_)]),
        "an offset beyond the end is the end"
    );
}

#[test]
fn an_unanswered_complete_is_sent_again() {
    let mut rig = running();
    rig.output(key(1, 1), "Hello!", 2);
    rig.handle(Event::Finished {
        key: key(1, 1),
        result: result("Hello!"),
    });
    rig.store();
    rig.sent();
    rig.pass(Duration::from_secs(29));
    assert!(!rig.sent().iter().any(|up| matches!(up, Up::Complete(_))));
    rig.pass(Duration::from_millis(900));
    rig.now += Duration::from_millis(101);
    assert!(rig.sent().iter().any(|up| matches!(up, Up::Complete(_))));
}

#[test]
fn large_outputs_take_turns_in_bounded_batches() {
    let mut rig = running();
    rig.down(Down::Assign(assign(key(2, 1))));
    rig.sent();
    let text = "x".repeat(1 << 20);
    rig.output(key(1, 1), &text, 1);
    rig.output(key(2, 1), &text, 1);
    let mut sent = [0; 2];
    while let Some(batch) = rig.core.outgoing(rig.now) {
        let size: usize = batch.iter().map(Message::encoded_len).sum();
        assert!(size <= CHUNK_BYTES, "{size}");
        for message in batch {
            if let Some(Up::Output(part)) = message.message {
                sent[usize::from(part.job_id == key(2, 1).job.to_string())] += part.data.len();
            }
        }
        assert!(sent[0].abs_diff(sent[1]) <= 128 << 10, "{sent:?}");
    }
    assert_eq!(sent, [1 << 20; 2]);
}

#[test]
fn output_over_the_bound_ends_the_run_with_length() {
    let mut rig = running();
    let half = usize::try_from(OUTPUT_BYTES / 2).unwrap();
    rig.output(key(1, 1), &"x".repeat(half), 1);
    rig.output(key(1, 1), &format!("{}é", "x".repeat(half - 1)), 2);
    assert_eq!(rig.stopped(), [key(1, 1)]);
    let record = rig.store().remove(0);
    assert_eq!(
        record.output.len() as u64,
        OUTPUT_BYTES - 1,
        "no half character"
    );
    assert!(
        record.result.ends_with(
            br#""finish_reason":"length","usage":{"input_tokens":0,"output_tokens":2}}"#
        )
    );
}

#[test]
fn a_result_that_differs_from_the_stream_is_not_signed() {
    let mut rig = running();
    rig.output(key(1, 1), "Hello", 2);
    rig.handle(Event::Finished {
        key: key(1, 1),
        result: result("Hello!"),
    });
    assert!(rig.store().is_empty());
    assert!(rig.sent().iter().any(|up| matches!(up, Up::Fail(_))));
}
