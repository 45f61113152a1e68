//! Templates that work too long, too deep or too much end with an error that says so, in time and memory.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::time::{Duration, Instant};

use flowbench_prompt::{Template, TemplateError};
use serde_json::{Map, json};

fn render(source: &str) -> Result<String, TemplateError> {
    Template::parse(source, "t.jinja2").and_then(|template| template.render(&Map::new()))
}

#[track_caller]
fn check(source: &str, expected: &str) {
    let started = Instant::now();
    let error = render(source).unwrap_err();
    assert_eq!(error.to_string(), format!("template `t.jinja2`, line 1: {expected}"));
    assert!(error.is_limit, "{error}");
    assert!(started.elapsed() < Duration::from_secs(30), "{source} took {:?}", started.elapsed());
}

#[test]
fn endless_work_is_stopped() {
    check(
        "{% for i in range(10**9) %}x{% endfor %}",
        "range of 1000000000 numbers is too long: templates may loop over 100000 at most",
    );
    let r = "range(100000)";
    let nested = format!("{{% for a in {r} %}}{{% for b in {r} %}}{{% endfor %}}{{% endfor %}}");
    let error = render(&nested).unwrap_err();
    assert!(error.is_limit, "{error}");
    check(
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "macros, loops or blocks call each other too deeply",
    );
    check(
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "macros, loops or blocks call each other too deeply",
    );
}

#[test]
fn nothing_repeated_for_ever_is_nothing() {
    assert_eq!(render("{{ '' * 10**20 }}{{ [] * 10**20 }}{{ () * 10**20 }}").unwrap(), "[]()");
}

#[test]
fn absurd_sizes_are_refused_before_they_are_made() {
    check("{{ 'a' * 10**12 }}", "a text is longer than 16777216 bytes");
    check("{{ [0] * 10**9 }}", "the template does too much work: a loop is too long");
    check("{{ 'a'.ljust(10**11) }}", "a width of 100000000000 is too large");
    check("{{ '%1000000000d' % 1 }}", "a width of 1000000000 is too large");
    check("{{ '{:>1000000000}'.format(1) }}", "a width of 1000000000 is too large");
    check("{{ 10**10**10 }}", "a number became too large");
    check("{{ 'a' | center(10**9) }}", "a width of 1000000000 is too large");
    check(
        "{{ [1] | tojson(indent=10**9) }}",
        "a width of 1000000000 is too large".replace("a width", "the indent of `tojson`").as_str(),
    );
    let doubling = "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    check(doubling, "a text is longer than 16777216 bytes");
    let printing = "{% set x = 'a' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %}";
    check(printing, "the text is longer than 16777216 bytes");
}

#[test]
fn deep_nesting_neither_crashes_nor_hangs() {
    for source in [
        format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)),
        format!("{{{{ {}1 }}}}", "-".repeat(5000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(5000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(5000)),
        format!("{{{{ x{} }}}}", ".a".repeat(5000)),
        format!("{{{{ x{} }}}}", "|upper".repeat(5000)),
        format!("{{{{ x{} }}}}", "[0]".repeat(5000)),
        format!("{{{{ {} }}}}", "[".repeat(5000)),
        format!("{}x{}", "{% if 1 %}".repeat(5000), "{% endif %}".repeat(5000)),
        format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(5000)),
        format!("{{{{ 1{} }}}}", "**1".repeat(5000)),
    ] {
        assert!(render(&source).is_err(), "{}", &source[..60]);
    }
    // Long is not deep.
    assert_eq!(render(&format!("{{{{ 'a'{} }}}}", " ~ 'a'".repeat(2000))).unwrap().len(), 2001);
    assert_eq!(render(&format!("{{{{ 1{} }}}}", " and 1".repeat(2000))).unwrap(), "1");
    // As deep as it goes, on a thread with a small stack.
    let deepest = format!(
        "{{% macro m(n) %}}{{% if n > 0 %}}{}m(n - 1){}{{% endif %}}{{% endmacro %}}{{{{ m(1000) }}}}",
        "{{ ((((((((((".to_owned(),
        ")))))))))) }}"
    );
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || render(&deepest)).unwrap();
    assert!(thread.join().unwrap().unwrap_err().is_limit);
}

#[test]
fn values_that_hold_themselves_or_nest_for_ever_end_in_an_error() {
    check(
        "{% set a = [] %}{% set _ = a.append(a) %}{{ a }}",
        "a value nests lists or maps more than 100 deep",
    );
    check(
        "{% set a = [] %}{% set _ = a.append(a) %}{{ a | tojson }}",
        "a value nests lists or maps more than 100 deep",
    );
    check(
        "{% set a = [] %}{% set b = [] %}{% set _ = a.append(a) %}{% set _ = b.append(b) %}{{ a == b }}",
        "a value nests lists or maps more than 100 deep",
    );
    // A chain of 100,000 lists is freed without overflowing the stack.
    let chain =
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}ok";
    assert_eq!(render(chain).unwrap(), "ok");
}

#[test]
fn errors_name_template_line_and_names_in_sight() {
    let template = Template::parse("a\n{% set topic = 1 %}\n{{ qestion.text }}", "ask.jinja2").unwrap();
    let values = json!({"question": "x", "context": "y"});
    let error = template.render(values.as_object().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "template `ask.jinja2`, line 3: `qestion` is undefined");
    assert_eq!(error.hint().unwrap(), "names in sight: `context`, `question`, `topic`");

    for (source, expected) in [
        (
            "\n{% if x %}",
            "line 2: unexpected end of template; `if` is still open and is closed by `elif` or `else` or `endif`",
        ),
        ("{{ 1 | shout }}", "line 1: no filter named `shout`"),
        ("{% loop %}", "line 1: unknown tag `loop`"),
        ("{{ [1, 2 }}", "line 1: unexpected `}`, expected `]`"),
        ("{% include 'x' %}", "line 1: `include` cannot be used: templates of a flow do not load each other"),
    ] {
        let error = render(source).unwrap_err();
        assert_eq!(error.to_string(), format!("template `t.jinja2`, {expected}"));
    }
}

#[test]
fn the_same_template_and_values_give_the_same_text_every_time() {
    let template = Template::parse("{{ range(1000) | random }} {{ lipsum(1) }}", "t").unwrap();
    let first = template.render(&Map::new()).unwrap();
    assert_eq!(template.render(&Map::new()).unwrap(), first);
    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&template);
}
