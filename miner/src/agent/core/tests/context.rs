use super::*;

fn small(native: bool, context_tokens: u32) -> Setup {
    Setup {
        context_tokens,
        ..setup(native, 20)
    }
}

fn bytes(request: &ChatRequest) -> usize {
    json!([request.messages, request.tools]).to_string().len()
}

#[test]
fn old_outputs_are_left_out_first_and_it_is_said() {
    for native in [true, false] {
        let mut core = AgentCore::new(small(native, 4096), &[]);
        for n in 0..6 {
            let arguments = query(&format!("number {n}"));
            let reply = if native {
                calls(&format!("thought {n}"), &[("sql", arguments)])
            } else {
                words(&json!({"thought": format!("thought {n}"), "tool": "sql", "arguments": arguments}).to_string())
            };
            step(&mut core, &reply, &format!("{n}").repeat(2_000));
        }
        let request = chat(&mut core);
        assert!(bytes(&request) <= 3 * 4096 * 3 / 4, "{}", bytes(&request));
        let text = json!(request.messages).to_string();
        for n in 0..6 {
            assert!(
                text.contains(&format!("thought {n}")) && text.contains(&format!("number {n}"))
            );
        }
        assert!(
            text.contains("[observation 4: 2000 bytes, left out to fit the context]"),
            "{text}"
        );
        assert!(text.contains(&"5".repeat(2_000)));
        assert_eq!(
            text.matches("left out to fit").count()
                + (0..6)
                    .filter(|n| text.contains(&n.to_string().repeat(2_000)))
                    .count(),
            6
        );
    }
}

#[test]
fn then_old_steps_are_left_out() {
    let mut core = AgentCore::new(small(true, 2048), &[]);
    for n in 0..12 {
        let reply = calls(
            &format!("thought {n} {}", "x".repeat(500)),
            &[("sql", query(&format!("number {n}")))],
        );
        step(&mut core, &reply, "short");
    }
    let request = chat(&mut core);
    let task = request.messages[1]["content"].as_str().unwrap();
    assert!(
        task.starts_with("Analyze Q3 financial data\n\n[steps 1 to "),
        "{task}"
    );
    assert!(bytes(&request) <= 3 * 2048 * 3 / 4);
    let text = json!(request.messages).to_string();
    assert!(text.contains("thought 11") && !text.contains("thought 0 "));
}

#[test]
fn a_giant_output_is_shortened_within_its_turn() {
    let mut core = AgentCore::new(small(true, 2048), &[]);
    step(
        &mut core,
        &calls("", &[("sql", query("x"))]),
        &"é".repeat(8_000),
    );
    let request = chat(&mut core);
    let output = request.messages[3]["content"].as_str().unwrap();
    assert!(
        output.starts_with("éé")
            && output.ends_with("of 16000 bytes, the rest left out to fit the context]"),
        "{output}"
    );
    assert!(bytes(&request) <= 3 * 2048 * 3 / 4);
}

#[test]
fn what_cannot_fit_ends_the_execution() {
    let mut setup = small(true, 512);
    setup.definition.system = "x".repeat(2_000);
    let mut core = AgentCore::new(setup, &[]);
    assert_eq!(ended(&mut core), (String::new(), End::ContextFull));

    let mut core = AgentCore::new(small(true, 512), &[]);
    step(
        &mut core,
        &calls("Much.", &[("sql", query(&"x".repeat(2_000)))]),
        "1",
    );
    assert_eq!(ended(&mut core), ("Much.".to_owned(), End::ContextFull));
}

#[test]
fn a_server_that_counts_more_gets_less() {
    let mut core = AgentCore::new(small(true, 4096), &[]);
    for n in 0..5 {
        step(
            &mut core,
            &calls("", &[("sql", query(&format!("{n}")))]),
            &"7".repeat(1_500),
        );
    }
    let first = chat(&mut core);
    core.context_exceeded(Some(6_000));
    let second = chat(&mut core);
    assert!(bytes(&second) < bytes(&first));
    core.context_exceeded(None);
    assert!(bytes(&chat(&mut core)) < bytes(&second));
    core.context_exceeded(None);
    chat(&mut core);
    core.context_exceeded(None);
    assert_eq!(ended(&mut core).1, End::ContextFull);
}

#[test]
fn a_reply_says_how_far_the_estimate_is_off() {
    let most = |tokens_in: u64| {
        let mut core = AgentCore::new(small(true, 4096), &[]);
        for n in 0..8 {
            let mut reply = calls("", &[("sql", query(&format!("{n}")))]);
            reply.tokens_in = tokens_in;
            step(&mut core, &reply, &"7".repeat(1_000));
        }
        bytes(&chat(&mut core))
    };
    assert!(most(2_000) < most(10));
}
