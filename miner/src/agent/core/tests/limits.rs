use super::*;

#[test]
fn the_last_step_is_announced_and_has_no_tools() {
    let note = "This is the last step: answer now";
    for native in [true, false] {
        let mut core = AgentCore::new(setup(native, 2), &[]);
        let first = chat(&mut core);
        assert!(
            !first.messages[1]["content"]
                .as_str()
                .unwrap()
                .contains(note)
        );
        core.chat_answered(&if native {
            calls("", &[("sql", query("x"))])
        } else {
            words(r#"{"tool": "sql", "arguments": {"query": "x"}}"#)
        });
        called(&mut core);
        core.tool_answered(outcome("1"));
        let last = chat(&mut core);
        assert!(last.tools.is_empty());
        let text = last.messages.last().unwrap()["content"].as_str().unwrap();
        assert!(text.contains(note), "{text}");
        if let Some(format) = last.format {
            assert_eq!(format["required"], json!(["thought", "answer"]));
        }
        core.chat_answered(&words(if native {
            "One."
        } else {
            r#"{"answer": "One."}"#
        }));
        assert_eq!(ended(&mut core), ("One.".to_owned(), End::Answered));
    }
}

#[test]
fn without_an_answer_in_the_last_step_the_last_words_are_it() {
    let mut core = AgentCore::new(setup(true, 2), &[]);
    step(
        &mut core,
        &calls("It may be 1.", &[("sql", query("x"))]),
        "1",
    );
    for _ in 0..2 {
        chat(&mut core);
        core.chat_answered(&calls("", &[("sql", query("y"))]));
    }
    assert_eq!(
        ended(&mut core),
        ("It may be 1.".to_owned(), End::StepLimit)
    );

    let mut core = AgentCore::new(setup(true, 1), &[]);
    chat(&mut core);
    core.chat_answered(&calls("Nearly.", &[("sql", query("y"))]));
    assert_eq!(ended(&mut core), ("Nearly.".to_owned(), End::Answered));
}

#[test]
fn what_a_bad_step_thought_is_better_than_its_json() {
    let mut core = AgentCore::new(setup(false, 1), &[]);
    for _ in 0..2 {
        chat(&mut core);
        core.chat_answered(&words(r#"{"thought": "Revenue fell.", "answer": ""}"#));
    }
    assert_eq!(
        ended(&mut core),
        ("Revenue fell.".to_owned(), End::StepLimit)
    );
}

#[test]
fn time_ends_whatever_runs() {
    let mut core = AgentCore::new(setup(true, 20), &[]);
    assert_eq!(core.deadline_ms(), None);
    assert!(matches!(core.next(5_000), Next::Chat(_)));
    assert_eq!(core.deadline_ms(), Some(605_000));
    assert!(matches!(core.next(604_999), Next::Chat(_)));
    core.chat_answered(&calls("Soon.", &[("sql", query("x")), ("sql", query("y"))]));
    assert!(matches!(core.next(604_999), Next::Call { .. }));
    assert_eq!(core.next(605_000), Next::Done);
    core.tool_answered(outcome("too late"));
    core.chat_answered(&words("too late"));
    assert_eq!(core.next(605_001), Next::Done);
    let events = core.take_events();
    match &events[events.len() - 2..] {
        [
            Event::Observation {
                ok: false,
                interrupted: false,
                output,
                ..
            },
            Event::Answer {
                text,
                end: End::TimeLimit,
                ..
            },
        ] => {
            assert_eq!(output, "not finished: the execution ended");
            assert_eq!(text, "Soon.");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(Event::read(&lines(&events)).unwrap().0, events);
}

#[test]
fn tokens_are_counted_over_all_steps_and_bound_the_next() {
    let mut setup = setup(true, 20);
    setup.definition.limits.tokens = 1_000;
    setup
        .definition
        .options
        .insert("num_predict".to_owned(), json!(900));
    setup
        .definition
        .options
        .insert("temperature".to_owned(), json!(0));
    let mut core = AgentCore::new(setup, &[]);
    let first = chat(&mut core).options;
    assert_eq!(first["temperature"], 0);
    let most = first["num_predict"].as_u64().unwrap();
    assert!((600..900).contains(&most), "{most}");
    let mut reply = calls("So far.", &[("sql", query("x"))]);
    (reply.tokens_in, reply.tokens_out) = (500, 450);
    core.chat_answered(&reply);
    called(&mut core);
    core.tool_answered(outcome("1"));
    assert_eq!(chat(&mut core).options["num_predict"], 32);
    core.chat_answered(&reply);
    called(&mut core);
    core.tool_answered(outcome("1"));
    assert_eq!(ended(&mut core), ("So far.".to_owned(), End::TokenLimit));
}

#[test]
fn the_driver_can_end_it() {
    let mut core = AgentCore::new(setup(true, 20), &[]);
    step(&mut core, &calls("Half.", &[("sql", query("x"))]), "1");
    core.stop(End::SpendLimit);
    core.stop(End::TimeLimit);
    assert_eq!(ended(&mut core), ("Half.".to_owned(), End::SpendLimit));
}

#[test]
fn the_output_stays_within_a_jobs_bound() {
    let mut setup = setup(true, 200);
    setup.definition.limits.tokens = 10_000_000;
    let mut core = AgentCore::new(setup, &[]);
    let long = "\u{1}".repeat(16 << 10);
    let mut bytes = 0;
    let end = loop {
        match core.next(0) {
            Next::Chat(_) => {
                let n = bytes;
                let made: Vec<(&str, Value)> = (0..16)
                    .map(|call| ("sql", query(&format!("{n} {call}"))))
                    .collect();
                core.chat_answered(&calls("", &made));
            }
            Next::Call { .. } => core.tool_answered(outcome(&long)),
            Next::Done => break core.take_events().pop(),
        }
        bytes += lines(&core.take_events()).len();
    };
    assert!(
        matches!(
            end,
            Some(Event::Answer {
                end: End::StepLimit,
                ..
            })
        ),
        "{end:?}"
    );
    assert!(
        bytes as u64 <= OUTPUT_BYTES && bytes as u64 > OUTPUT_BYTES / 2,
        "{bytes}"
    );
}
