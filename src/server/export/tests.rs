use super::*;

/// What of `{name, builds: [{number, url}], color}` a selection shows.
fn shown(select: &Select) -> String {
    let mut root = Shape::new("a.Job", select);
    root.put("name", ALWAYS, "x");
    if let Some(inner) = root.wants("builds", PLAIN) {
        let build = |number: u64| {
            let mut build = Shape::new("a.Build", &inner);
            build.put("id", PLAIN, number).put("number", 2, number);
            build.done()
        };
        let builds: Vec<Value> = (1..=3).rev().map(build).collect();
        root.set("builds", inner.range().cut(builds));
    }
    root.put("color", 2, "blue");
    write_json(&root.done(), Format::Json, false)
}

fn tree(text: &str) -> String {
    match Select::parse(Some(text), Some("5")) {
        Ok(select) => shown(&select),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_tree_selects_names_and_ranges() {
    for (text, expected) in [
        ("name", r#"{"_class":"a.Job","name":"x"}"#),
        ("_class", r#"{"_class":"a.Job"}"#),
        ("nothing,color[x]{0,50}", r#"{"_class":"a.Job","color":"blue"}"#),
        ("builds{0,1}", r#"{"_class":"a.Job","builds":[{"_class":"a.Build"}]}"#),
        ("builds[number]{1}", r#"{"_class":"a.Job","builds":[{"_class":"a.Build","number":2}]}"#),
        ("builds[number]{,1}", r#"{"_class":"a.Job","builds":[{"_class":"a.Build","number":3}]}"#),
        ("builds[number]{2,}", r#"{"_class":"a.Job","builds":[{"_class":"a.Build","number":1}]}"#),
        ("builds[number[*]]{2,9}", r#"{"_class":"a.Job","builds":[{"_class":"a.Build","number":1}]}"#),
        ("builds[number]{2,1}", r#"{"_class":"a.Job","builds":[]}"#),
        (
            "*[id]{0}",
            r#"{"_class":"a.Job","name":"x","builds":[{"_class":"a.Build","id":3}],"color":"blue"}"#,
        ),
        ("builds[id],builds[number]{0}", r#"{"_class":"a.Job","builds":[{"_class":"a.Build","number":3}]}"#),
    ] {
        assert_eq!(tree(text), expected, "{text}");
    }
}

#[test]
fn a_malformed_tree_is_refused_with_the_place() {
    for (text, at) in [
        ("", 1),
        ("a,", 3),
        (",a", 1),
        ("a[", 3),
        ("a[b", 4),
        ("a]", 2),
        ("a[]", 3),
        ("a{}", 3),
        ("a{,}", 4),
        ("a{x}", 3),
        ("a{1,2", 6),
        ("a{1}[b]", 5),
        ("a{99999999999999999999}", 3),
    ] {
        assert_eq!(tree(text), format!("Malformed tree expression, see character {at}"), "{text}");
    }
}

#[test]
fn a_tree_bomb_is_refused() {
    let deep = format!("{}a{}", "a[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(tree(&deep), "tree is nested deeper than 64 levels");
    assert_eq!(tree(&"a,".repeat(40_000)), "tree is longer than 65536 bytes");
    let nested = format!("{}a{}", "a[".repeat(63), "]".repeat(63));
    assert_eq!(tree(&nested), r#"{"_class":"a.Job"}"#);
}

#[test]
fn depth_shows_what_is_visible_enough() {
    let at = |depth: Option<&str>| match Select::parse(None, depth) {
        Ok(select) => shown(&select),
        Err(error) => error.to_string(),
    };
    let shallow = r#"{"_class":"a.Job","name":"x","builds":[{"_class":"a.Build","number":3},{"_class":"a.Build","number":2},{"_class":"a.Build","number":1}],"color":"blue"}"#;
    assert_eq!(at(None), shallow);
    assert_eq!(at(Some("0")), shallow);
    assert_eq!(at(Some("-3")), shallow);
    let deep = at(Some("1"));
    assert!(deep.contains(r#"{"_class":"a.Build","id":3,"number":3}"#), "{deep}");
    assert_eq!(at(Some("999")), deep);
    assert_eq!(at(Some("99999999999999")), deep);
    assert_eq!(at(Some("two")), "depth is not a number");
    assert_eq!(at(Some("")), "depth is not a number");
}

fn sample() -> Value {
    let select = Select::parse(None, None).unwrap();
    let mut job = Shape::new("hudson.model.Queue$LeftItem", &select);
    job.put("name", 1, "a \"b\" <c>\n\u{1}é").put("gone", 1, Value::Null).put("blocked", 1, true);
    job.put("properties", 1, vec![Value::Int(1), Value::empty()]);
    job.done()
}

#[test]
fn json_and_python_are_written() {
    assert_eq!(
        write_json(&sample(), Format::Json, false),
        r#"{"_class":"hudson.model.Queue$LeftItem","name":"a \"b\" <c>\n\u0001é","gone":null,"blocked":true,"properties":[1,{}]}"#
    );
    assert_eq!(
        write_json(&sample(), Format::Python, false),
        r#"{"_class":"hudson.model.Queue$LeftItem","name":"a \"b\" <c>\n\u0001é","gone":None,"blocked":True,"properties":[1,{}]}"#
    );
    let small = Value::List(vec![Value::Int(1)]);
    assert_eq!(write_json(&small, Format::Json, true), "[\n  1\n]");
    assert_eq!(sample().weight(), 7);
}

#[test]
fn xml_has_singular_elements_and_no_nulls() {
    let mut out = String::new();
    document(&sample()).write(&mut out);
    assert_eq!(
        out,
        "<leftItem _class='hudson.model.Queue$LeftItem'><name>a &quot;b&quot; &lt;c&gt;\n?é</name>\
         <blocked>true</blocked><property>1</property><property/></leftItem>"
    );
}

#[test]
fn xpath_finds_children_and_descendants() {
    let root = document(&sample());
    let count = |path: &str| match find_xpath(&root, path) {
        Some(Found::Elements(found)) => Some(found.len()),
        Some(Found::Text(found)) => Some(found.len() * 10),
        None => None,
    };
    for (path, expected) in [
        ("/leftItem", Some(1)),
        ("/*/property", Some(2)),
        ("//property", Some(2)),
        ("//*", Some(5)),
        ("/*/blocked/text()", Some(10)),
        ("/property", Some(0)),
        ("/*[1]", Some(1)),
        ("/*/property[2]", Some(1)),
        ("/*/property[last()]", Some(1)),
        ("/*/property[.='1']", Some(1)),
        ("/*/*[not(text())]", Some(1)),
        ("/*/@_class", Some(10)),
        ("concat(//a)", None),
        ("//name(a)", None),
        ("/*[", None),
        ("/*[1", None),
        ("/*[]", None),
        ("/*[a=]", None),
        ("/*[not(a]", None),
        ("/*[a='x]", None),
        ("/*]", None),
        ("/* /a", None),
        ("", None),
        ("///a", None),
    ] {
        assert_eq!(count(path), expected, "{path}");
    }
}

#[test]
fn predicates_choose_and_exclude_leaves_out() {
    let select = Select::parse(None, None).unwrap();
    let action = |total: Option<u32>, name: &'static str| {
        let mut action = Shape::new("a.Action", &select);
        if let Some(total) = total {
            action.put("totalCount", 1, total);
        }
        action.put("name", 1, name);
        action.done()
    };
    let mut run = Shape::new("a.Run", &select);
    run.put("actions", 1, vec![action(Some(3), "tests"), action(None, "causes"), action(Some(0), "more")]);
    run.put("result", 1, "SUCCESS");
    let root = document(&run.done());
    let names = |path: &str| match find_xpath(&root, path) {
        Some(Found::Elements(found)) => found.iter().map(|e| e.content()).collect::<Vec<_>>().join(","),
        other => format!("{other:?}"),
    };
    for (path, expected) in [
        ("/run/action[totalCount]/name", "tests,more"),
        ("/run/action[not(totalCount)]/name", "causes"),
        ("/run/action[totalCount=3]/name", "tests"),
        ("/run/action[totalCount!=3]/name", "more"),
        ("//action[name='causes' or name = \"more\"]/name", "causes,more"),
        ("//action[totalCount and name='more']/name", "more"),
        ("//action[(totalCount or name) and not(name='more')][2]/name", "causes"),
        ("//action[position()=2]/name", "causes"),
        ("/run/action[3]/name", "more"),
        ("/run/action[4]/name", ""),
        ("//name[starts-with(., 'ca')]", "causes"),
        ("//action[contains(name,'es')]/name", "tests,causes"),
        ("//action[@_class='a.Action'][last()]/name", "more"),
        ("/run[result='SUCCESS']/action[1]/name/text()", "Some(Text([\"tests\"]))"),
        ("/*[.//name='more']/result", "SUCCESS"),
        ("//name[text()='more']", "more"),
        ("//*[orange]", ""),
    ] {
        assert_eq!(names(path), expected, "{path}");
    }
    let left = |expression: &str| {
        let mut out = String::new();
        exclude(root.clone(), expression).unwrap().write(&mut out);
        out
    };
    assert_eq!(left("/*/action[not(totalCount)]").matches("<action").count(), 2, "what igor asks for");
    assert_eq!(left("/*/action"), "<run _class='a.Run'><result>SUCCESS</result></run>");
    assert_eq!(left("//nothing"), left("/other"));
    assert_eq!(left("/*"), "<run _class='a.Run'/>");
    let deep = format!("/*[{}a{}]", "not(".repeat(10_000), ")".repeat(10_000));
    assert!(exclude(root.clone(), &deep).is_none());
    assert!(exclude(root.clone(), "/*/name/text()").is_none());
    assert!(find_xpath(&root, &format!("/*[{}]", vec!["a"; 40].join(" or "))).is_none());
}
