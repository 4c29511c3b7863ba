use super::*;

/// Four steps: a call, two calls, a step that has to be repaired, the answer.
const REPLIES: usize = 5;

fn reply(native: bool, n: usize) -> ChatReply {
    let one = query("one");
    match (native, n) {
        (true, 0) => calls("First.", &[("sql", one)]),
        (true, 1) => calls("", &[("sql", query("two")), ("calculator", query("three"))]),
        (true, 3) => calls("Again.", &[("sqll", one), ("sql", query("four"))]),
        (false, 0) => {
            words(&json!({"thought": "First.", "tool": "sql", "arguments": one}).to_string())
        }
        (false, 1) => {
            words(&json!({"thought": "", "tool": "calculator", "arguments": one}).to_string())
        }
        (false, 3) => {
            words(&json!({"thought": "Again.", "tool": "sqll", "arguments": one}).to_string())
        }
        (_, 2) => words(""),
        (true, _) => words("Done."),
        (false, _) => words(r#"{"thought": "Sure.", "answer": "Done."}"#),
    }
}

/// Runs to the end; returns the chats, each with the number of events before it.
fn run(
    core: &mut AgentCore,
    native: bool,
    from: usize,
    events: &mut Vec<Event>,
    made: &mut Vec<Value>,
) -> Vec<(usize, usize, ChatRequest)> {
    let mut chats = Vec::new();
    let mut n = from;
    loop {
        let next = core.next(0);
        events.extend(core.take_events());
        match next {
            Next::Chat(request) => {
                chats.push((events.len(), n, request));
                core.chat_answered(&reply(native, n));
                n = (n + 1).min(REPLIES - 1);
            }
            Next::Call { arguments, .. } => {
                assert!(
                    !made.contains(&arguments) || !native,
                    "{arguments} is run again"
                );
                made.push(arguments.clone());
                core.tool_answered(outcome(&format!("result of {arguments}")));
            }
            Next::Done => return chats,
        }
    }
}

#[test]
fn the_conversation_goes_on_word_for_word() {
    for native in [true, false] {
        let mut events = Vec::new();
        let chats = run(
            &mut AgentCore::new(setup(native, 20), &[]),
            native,
            0,
            &mut events,
            &mut Vec::new(),
        );
        assert_eq!(chats.len(), REPLIES);
        for (before, n, request) in chats {
            let mut core = AgentCore::new(setup(native, 20), &events[..before]);
            // What was not valid is not stored: the step is asked for without it.
            if n != 3 {
                assert_eq!(chat(&mut core), request, "{native} {n}");
            }
            let mut whole = events[..before].to_vec();
            run(&mut core, native, n, &mut whole, &mut Vec::new());
            assert_eq!(told(&whole), told(&events), "{native} {n}");
        }
    }
}

#[test]
fn a_miner_that_dies_anywhere_repeats_no_call() {
    let mut events = Vec::new();
    run(
        &mut AgentCore::new(setup(true, 20), &[]),
        true,
        0,
        &mut events,
        &mut Vec::new(),
    );
    for cut in 0..=events.len() {
        let prior = &events[..cut];
        let mut made: Vec<Value> = prior
            .iter()
            .filter_map(|event| match event {
                Event::Action {
                    arguments, tool, ..
                } if tool != "sqll" => Some(arguments.clone()),
                _ => None,
            })
            .collect();
        let mut core = AgentCore::new(setup(true, 20), prior);
        let mut whole = prior.to_vec();
        // The model goes on where the events end.
        let steps = prior
            .iter()
            .filter(|event| matches!(event, Event::Action { .. }))
            .count();
        let from = [0, 1, 2, 2, 4, 4][steps];
        run(&mut core, true, from, &mut whole, &mut made);
        assert_eq!(
            Event::read(&lines(&whole)).unwrap().0,
            whole,
            "cut at {cut}"
        );
        assert!(
            matches!(
                whole.last(),
                Some(Event::Answer {
                    end: End::Answered,
                    ..
                })
            ),
            "cut at {cut}: {:?}",
            whole.last()
        );
        let interrupted = whole
            .iter()
            .filter(|event| {
                matches!(
                    event,
                    Event::Observation {
                        interrupted: true,
                        ..
                    }
                )
            })
            .count();
        let in_flight = matches!(prior.last(), Some(Event::Action { .. }));
        assert_eq!(interrupted, usize::from(in_flight), "cut at {cut}");
    }
}

#[test]
fn an_interrupted_call_is_told_to_the_model() {
    let mut core = AgentCore::new(setup(true, 20), &[]);
    chat(&mut core);
    core.chat_answered(&calls("", &[("sql", query("x"))]));
    called(&mut core);
    let prior = core.take_events();
    let mut core = AgentCore::new(setup(true, 20), &prior);
    let messages = chat(&mut core).messages;
    assert_eq!(
        messages[3]["content"],
        "error: interrupted: the machine that ran this tool stopped; it was not run again"
    );
    let events = core.take_events();
    assert!(matches!(
        events[..],
        [Event::Observation {
            seq: 3,
            action: 2,
            interrupted: true,
            ok: false,
            ..
        }]
    ));
    core.chat_answered(&calls("", &[("sql", query("x"))]));
    called(&mut core);
}

#[test]
fn a_thought_whose_action_was_lost_belongs_to_no_other_action() {
    let mut core = AgentCore::new(setup(true, 20), &[]);
    chat(&mut core);
    core.chat_answered(&calls("Lost.", &[("sql", query("x"))]));
    let prior = core.take_events();
    let mut core = AgentCore::new(setup(true, 20), &prior);
    assert_eq!(chat(&mut core).messages.len(), 2);
    step(&mut core, &calls("", &[("sql", query("y"))]), "1");
    assert_eq!(chat(&mut core).messages[2]["content"], "");
}

#[test]
fn what_ended_stays_ended() {
    let mut core = AgentCore::new(setup(true, 20), &[]);
    chat(&mut core);
    core.chat_answered(&words("Done."));
    let prior = core.take_events();
    let mut core = AgentCore::new(setup(true, 20), &prior);
    assert_eq!(core.next(0), Next::Done);
    assert_eq!(core.take_events(), []);
}

#[test]
fn steps_and_tokens_of_former_attempts_count() {
    let usage = |seq, step| Event::Usage {
        seq,
        step,
        tokens_in: 900,
        tokens_out: 100,
    };
    let mut setup = setup(false, 2);
    setup.definition.limits.tokens = 4_000;
    // Two replies without an action: that step was not valid.
    let mut core = AgentCore::new(setup.clone(), &[usage(1, 1), usage(2, 1)]);
    let request = chat(&mut core);
    assert_eq!(
        request.format.unwrap()["required"],
        json!(["thought", "answer"])
    );
    let mut core = AgentCore::new(
        setup.clone(),
        &[usage(1, 1), usage(2, 1), usage(3, 2), usage(4, 2)],
    );
    assert_eq!(ended(&mut core).1, End::Malformed);
    let endless = Event::Usage {
        seq: 1,
        step: u32::MAX,
        tokens_in: u64::MAX,
        tokens_out: 1,
    };
    let mut core = AgentCore::new(setup, &[endless]);
    assert_eq!(ended(&mut core).1, End::StepLimit);
}
