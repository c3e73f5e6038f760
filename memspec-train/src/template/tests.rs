use super::*;

const CHATML: &str = "{%- for message in messages %}\n    {{- '<|im_start|>' + message['role'] + '\\n' + message.content | trim + '<|im_end|>\\n' }}\n{%- endfor %}\n{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}\n";

fn render(text: &str) -> Result<String, TemplateError> {
    let tokens = [("bos_token", "<s>".to_owned()), ("eos_token", "</s>".to_owned())];
    let messages = [Message::new("user", " Hi "), Message::new("assistant", "<b>ok</b>")];
    ChatTemplate::new("chat_template.jinja", text, tokens)?.render(&messages, true)
}

#[test]
fn templates_render_as_in_transformers() {
    let check = |text: &str, expected: &str| assert_eq!(render(text).unwrap(), expected, "{text}");
    check(
        CHATML,
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<b>ok</b><|im_end|>\n<|im_start|>assistant\n",
    );
    check("{{ bos_token }}{{ messages[0]['content'].strip().upper() }}{{ eos_token }}", "<s>HI</s>");
    check("{{ messages[1] | tojson }}", r#"{"role": "assistant", "content": "<b>ok</b>"}"#);
    check("{{ {'a': [1, 2]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1,\n    2\n  ]\n}");
    check("  {% if true %}\nx\n  {% endif %}\ny", "x\ny");
    check(
        "{% for m in messages %}{% generation %}{{ m.role }}{% endgeneration %}{% if loop.first %}{% continue %}{% endif %}{% break %}{% endfor %}",
        "userassistant",
    );
    check("{% for m in messages[::-1] %}{{ m.role }} {% endfor %}", "assistant user ");
    check("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2");
    check("{{ tools is none }} {{ undefined_thing is defined }}", "True False");
    check(
        "{% if 'user' in messages[0].role and messages[0].content.split('H')[1].startswith('i') %}yes{% endif %}",
        "yes",
    );
}

#[test]
fn errors_name_the_file_the_line_and_the_reason() {
    let check = |text: &str, parts: &[&str]| {
        let message = render(text).expect_err("a broken template").to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
    };
    check("ok\n{% if %}", &["chat_template.jinja", "line 2", "does not compile"]);
    check("\n\n{{ raise_exception('roles must alternate') }}", &["line 3", "roles must alternate"]);
    check("{{ messages[7].content }}", &["line 1", "does not render"]);
    check("{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}", &["does not end"]);
}
