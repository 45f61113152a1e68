//! Parameters of llm nodes, and answers of prompty files.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use flowbench_core::chat::{ResponseFormat, ToolChoice};
use flowbench_core::check::Api;
use flowbench_prompt::prompty::select_outputs;
use flowbench_prompt::{LlmInputs, ParameterError, split_inputs};
use serde_json::{Value, json};

fn split(api: Api, inputs: Value, variables: &[&str]) -> Result<LlmInputs, ParameterError> {
    let variables: Vec<String> = variables.iter().map(|name| (*name).to_owned()).collect();
    split_inputs(api, inputs.as_object().unwrap().clone(), &variables)
}

/// Parameters as they would be written, and what is left for the template.
#[track_caller]
fn check(api: Api, inputs: Value, variables: &[&str], parameters: Value, values: Value) {
    let split = split(api, inputs, variables).unwrap();
    assert_eq!(serde_json::to_value(&split.parameters).unwrap(), parameters);
    assert_eq!(Value::Object(split.values), values);
}

#[track_caller]
fn check_error(inputs: Value, variables: &[&str], expected: &str, hint: Option<&str>) {
    let error = split(Api::Chat, inputs, variables).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.hint().as_deref(), hint);
}

#[test]
fn literals_become_parameters_of_their_types() {
    // The node of the reference flow `chat-basic`.
    check(
        Api::Chat,
        json!({"temperature": 0.25, "top_p": "0.5", "max_tokens": "128", "presence_penalty": 0,
            "frequency_penalty": 0.5, "stop": ["###", "END"], "user": "tester", "seed": 7, "n": 3,
            "response_format": {"type": "text"}, "question": "q", "style": "short"}),
        &["question", "style"],
        json!({"temperature": 0.25, "top_p": 0.5, "max_tokens": 128, "presence_penalty": 0.0,
            "frequency_penalty": 0.5, "stop": ["###", "END"], "user": "tester", "seed": 7}),
        json!({"question": "q", "style": "short"}),
    );
    // `chat-literals`: text that holds JSON, and what counts as not given.
    check(
        Api::Chat,
        json!({"temperature": "0", "max_tokens": 16, "logit_bias": "{\"50256\": -100}", "stop": "[\"a\", \"b\"]"}),
        &[],
        json!({"temperature": 0.0, "top_p": 1.0, "max_tokens": 16, "logit_bias": {"50256": -100}, "stop": ["a", "b"]}),
        json!({}),
    );
    check(
        Api::Chat,
        json!({"temperature": null, "top_p": "", "max_tokens": "", "stop": "", "logit_bias": "", "tools": null,
            "response_format": "", "user": "", "topic": ""}),
        &["topic"],
        json!({"temperature": 1.0, "top_p": 1.0}),
        json!({"topic": ""}),
    );
    // `completion-basic`.
    check(
        Api::Completion,
        json!({"max_tokens": "32", "temperature": 0, "suffix": "The end.", "echo": true, "best_of": 2, "n": 2,
            "logprobs": 1, "stop": ["\n"], "text": "t"}),
        &["text"],
        json!({"temperature": 0.0, "top_p": 1.0, "max_tokens": 32, "stop": ["\n"], "n": 2,
            "extra": {"suffix": "The end.", "logprobs": 1, "best_of": 2, "echo": true}}),
        json!({"text": "t"}),
    );
    check(
        Api::Completion,
        json!({"text": "t"}),
        &["text"],
        json!({"temperature": 1.0, "top_p": 1.0, "max_tokens": 16}),
        json!({"text": "t"}),
    );
}

#[test]
fn names_of_our_own_give_way_to_the_template() {
    let inputs = json!({"top_k": 5, "n": 2, "stop": "###", "seed": u64::MAX});
    check(
        Api::Chat,
        inputs.clone(),
        &["top_k", "n"],
        json!({"temperature": 1.0, "top_p": 1.0, "stop": ["###"], "seed": u64::MAX}),
        json!({"top_k": 5, "n": 2}),
    );
    check(
        Api::Chat,
        inputs,
        &[],
        json!({"temperature": 1.0, "top_p": 1.0, "top_k": 5, "stop": ["###"], "seed": u64::MAX}),
        json!({}),
    );
}

#[test]
fn what_cannot_be_a_parameter_is_refused_with_a_reason() {
    // The reference flow `name-clash`.
    check_error(
        json!({"user": "Bo"}),
        &["user"],
        "template variable `user` has the name of a parameter of the chat API",
        Some("rename the variable in the template and the node's inputs, such as `user_text`"),
    );
    check_error(
        json!({"max_tokens": "inf"}),
        &[],
        "parameter `max_tokens`: `inf` is no whole number",
        Some("leave `max_tokens` out for no limit"),
    );
    check_error(
        json!({"max_tokens": -1}),
        &[],
        "parameter `max_tokens`: `-1` is no whole number in range",
        None,
    );
    check_error(json!({"temperature": "warm"}), &[], "parameter `temperature`: `warm` is no number", None);
    check_error(json!({"stop": [1]}), &[], "parameter `stop`: `[1]` is no list of texts", None);
    check_error(json!({"logit_bias": "many"}), &[], "parameter `logit_bias`: `many` is no map", None);
    check_error(
        json!({"response_format": {"type": "xml"}}),
        &[],
        "parameter `response_format`: `{'type': 'xml'}` is no response format (text, json_object or json_schema)",
        None,
    );
    check_error(
        json!({"functions": [{"name": "f", "parameters": {"type": "array"}}]}),
        &[],
        "parameter `functions`, entry 1: `parameters` of `f` is no JSON Schema of type `object` with `properties`",
        Some("write `{name: …, description: …, parameters: {type: object, properties: {…}}}`"),
    );
    let error = split(Api::Chat, json!({"tools": [{"type": "function"}]}), &[]).unwrap_err();
    assert_eq!(error.to_string(), "parameter `tools`, entry 1: `function` is missing");
}

#[test]
fn tools_win_over_functions_and_both_are_understood() {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let function = json!({"name": "weather", "description": "d", "parameters": schema});
    let tools = json!([{"type": "function", "function": function}]);
    let both = split(
        Api::Chat,
        json!({"tools": tools, "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "functions": [{"name": "other", "parameters": schema}], "n": 2}),
        &[],
    )
    .unwrap();
    assert_eq!(both.tools.len(), 1);
    assert_eq!(both.tools[0].name, "weather");
    assert_eq!(both.tool_choice, Some(ToolChoice::Function("weather".to_owned())));
    assert_eq!((both.parameters.n, both.has_legacy_functions), (Some(2), false));

    let legacy =
        split(Api::Chat, json!({"functions": [function], "function_call": {"name": "weather"}}), &[])
            .unwrap();
    assert_eq!(legacy.tools, both.tools);
    assert_eq!(legacy.tool_choice, Some(ToolChoice::Function("weather".to_owned())));
    assert!(legacy.has_legacy_functions);
    let auto = split(Api::Chat, json!({"tools": tools.to_string(), "tool_choice": "required"}), &[]).unwrap();
    assert_eq!(auto.tool_choice, Some(ToolChoice::Required));
}

#[test]
fn answers_can_be_asked_for_as_json() {
    let format =
        |value: Value| split(Api::Chat, json!({"response_format": value}), &[]).unwrap().response_format;
    assert_eq!(format(json!({"type": "json_object"})), Some(ResponseFormat::JsonObject));
    assert_eq!(format(json!("{\"type\": \"json_object\"}")), Some(ResponseFormat::JsonObject));
    let schema = json!({"type": "object"});
    assert_eq!(
        format(
            json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": true}})
        ),
        Some(ResponseFormat::JsonSchema { name: "a".to_owned(), schema, strict: true })
    );
}

#[test]
fn a_prompty_selects_the_outputs_it_promises() {
    let answer = "{\"answer\": \"abc\", \"length\": 3}";
    let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(select_outputs(answer, &[]).unwrap(), json!({"answer": "abc", "length": 3}));
    assert_eq!(select_outputs(answer, &keys(&["answer"])).unwrap(), json!({"answer": "abc"}));
    assert_eq!(
        select_outputs(answer, &keys(&["answer", "mood"])).unwrap_err().to_string(),
        "the answer has no key `mood`, only `answer`, `length`"
    );
    assert_eq!(
        select_outputs("Sure!", &[]).unwrap_err().to_string(),
        "the answer is no JSON object: expected value at line 1 column 1"
    );
}
