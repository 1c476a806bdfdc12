use std::time::Duration;

use proptest::prelude::*;

use super::*;

const FULL: &str = r#"
apiVersion: majordomo.dev/v1alpha1
kind: HAController
metadata:
  name: acme
  namespace: ci
  uid: 1234
  annotations: {majordomo.dev/restartedAt: "2026-11-22T10:00:00Z"}
spec:
  replicas: 5
  image: example.org/majordomo:1
  store:
    postgres: {url: "postgres://u:secret@db/x"}
  objects:
    s3: {bucket: b, region: eu}
  configurationAsCode:
    inline: {jenkins: {systemMessage: hi}}
    configMaps: [{name: casc}]
  plugins:
    - {name: slack, version: "1.2", source: "oci://x", digest: "sha256:1"}
  ingress: {host: ci.example.org, className: nginx, tls: {secretName: t}, annotations: {a: b}}
  rollout: {when: Window, window: {from: "22:00", to: "04:00"}, drainTimeout: 5m, bake: 1h30m, paused: false}
  resources: {requests: {cpu: 1}}
  podTemplate: {spec: {nodeSelector: {a: b}}}
  security: {adminSecretRef: {name: s}, setupWizard: true}
  monitoring: {enabled: true}
  networkPolicy: {enabled: true}
status: {phase: Ready}
"#;

fn head(rest: &str) -> String {
    format!("apiVersion: majordomo.dev/v1alpha1\nkind: HAController\n{rest}")
}

fn refusal(text: &str) -> String {
    HAController::parse(text).unwrap_err().to_string()
}

#[test]
fn all_known_fields_are_read() {
    let controller = HAController::parse(FULL).unwrap();
    assert_eq!(controller.metadata.name.as_deref(), Some("acme"));
    assert_eq!(controller.metadata.namespace.as_deref(), Some("ci"));
    assert_eq!(controller.spec.replicas, 5);
    let rollout = controller.spec.rollout.as_ref().unwrap();
    assert_eq!(rollout.bake, Some(Span(Duration::from_secs(5_400))));
    assert_eq!(rollout.when, Some(When::Window));
    assert_eq!(rollout.window.as_ref().unwrap().from, TimeOfDay { hour: 22, minute: 0 });
    let (plan, warnings) = local_plan(&controller);
    let store = LocalStore::Postgres("postgres://u:secret@db/x".to_owned());
    let rollout = LocalRollout {
        drain_timeout: Some(Duration::from_secs(300)),
        ready_timeout: None,
        bake: Some(Duration::from_secs(5_400)),
    };
    let wanted = LocalPlan { name: "acme".to_owned(), replicas: 5, store, rollout, setup_wizard: true };
    assert_eq!(plan, wanted);
    let fields: Vec<_> = warnings.iter().map(|w| w.field).collect();
    assert_eq!(
        fields,
        [
            "metadata.annotations[majordomo.dev/restartedAt]",
            "spec.image",
            "spec.objects.s3",
            "spec.configurationAsCode",
            "spec.plugins",
            "spec.ingress",
            "spec.rollout.when",
            "spec.resources",
            "spec.podTemplate",
            "spec.security.adminSecretRef",
            "spec.monitoring",
            "spec.networkPolicy"
        ]
    );
    assert!(!format!("{controller:?}{plan:?}").contains("secret@"));
}

#[test]
fn a_minimal_resource_has_the_defaults() {
    let controller = HAController::parse(&head("metadata: {name: a}\n")).unwrap();
    let (plan, warnings) = local_plan(&controller);
    assert_eq!(
        plan,
        LocalPlan {
            name: "a".to_owned(),
            replicas: 3,
            store: LocalStore::Sqlite,
            rollout: LocalRollout::default(),
            setup_wizard: false
        }
    );
    assert!(warnings.is_empty());
    let again =
        HAController::parse(&format!("---\n{}...\n", head("metadata: {name: a}\nspec: {}\n"))).unwrap();
    assert_eq!(again, controller);
}

#[test]
fn stores_that_only_kubernetes_has_are_named() {
    for (store, field) in [
        ("builtin: {}", "spec.store.builtin"),
        ("cloudNativePG: {cluster: x}", "spec.store.cloudNativePG"),
        ("cloudNativePg: {}", "spec.store.cloudNativePG"),
        ("postgres: {secretRef: {name: x}}", "spec.store.postgres.secretRef"),
        ("sqlite: {storage: {size: 1Gi}}", "spec.store.sqlite.storage"),
    ] {
        let text = head(&format!("metadata: {{name: a}}\nspec: {{store: {{{store}}}}}\n"));
        let (plan, warnings) = local_plan(&HAController::parse(&text).unwrap());
        assert_eq!(plan.store, LocalStore::Sqlite);
        assert_eq!(warnings.iter().map(|w| w.field).collect::<Vec<_>>(), [field]);
    }
}

#[test]
fn a_wrong_file_is_refused_with_a_sentence() {
    for (text, why) in [
        (String::new(), "the file is empty"),
        ("# only a comment\n".to_owned(), "the file is empty"),
        ("---\n".to_owned(), "the file is empty"),
        ("kind: Pod\napiVersion: v1\n".to_owned(), "kind: “Pod” is not HAController"),
        ("a: 1\n".to_owned(), "kind: it is missing"),
        ("kind: HAController\n".to_owned(), "apiVersion: it is missing"),
        (
            "kind: HAController\napiVersion: majordomo.dev/v9\n".to_owned(),
            "“majordomo.dev/v9” is not majordomo.dev/v1alpha1",
        ),
        (head("metadata: {name: a}\n---\nkind: Pod\n"), "more than one document"),
        (head("metadata: {name: a}\nkind: HAController\n"), "the key “kind” is there twice"),
        (
            head("metadata: {name: a}\nspec:\n  replicas: 1\n  replicas: 2\n"),
            "the key “replicas” is there twice",
        ),
        (head("spec: {}\n"), "the field “metadata” is missing"),
        (head("metadata: {}\n"), "metadata: the field “name” is missing"),
        (head("metadata: {name: Acme}\n"), "metadata.name: “Acme”"),
        (head(&format!("metadata: {{name: {}}}\n", "a".repeat(53))), "metadata.name"),
        (
            head("metadata: {name: a}\nspec: {replicas: 10}\n"),
            "spec.replicas: “10” is not a whole number from 0 to 9",
        ),
        (
            head("metadata: {name: a}\nspec: {replicas: -1}\n"),
            "spec.replicas: “-1” is not a whole number from 0 to 9",
        ),
        (
            head("metadata: {name: a}\nspec: {replicas: 2.5}\n"),
            "spec.replicas: “2.5” is not a whole number from 0 to 9",
        ),
        (
            head("metadata: {name: a}\nspec: {replicas: 99999999999999999999}\n"),
            "is not a whole number from 0 to 9",
        ),
        (
            head("metadata: {name: a}\nspec: {replicas: many}\n"),
            "spec.replicas: “many” is not a whole number from 0 to 9",
        ),
        (head("metadata: {name: a}\nspec:\n  replicas:\n"), "is not a whole number from 0 to 9"),
        (head("metadata: {name: a}\nspec: {replicas: [1]}\n"), "a whole number from 0 to 9"),
        (
            head("metadata: {name: a}\nspec: {repicas: 1}\n"),
            "there is no field “repicas”; there are replicas",
        ),
        (head("metadata: {name: a}\nspec: {plugins: [{name: a}, {nam: b}]}\n"), "spec.plugins[1]"),
        (head("metadata: {name: a}\nspec: {store: {}}\n"), "spec.store: one of postgres"),
        (head("metadata: {name: a}\nspec: {store: {sqlite: {}, builtin: {}}}\n"), "spec.store: only one of"),
        (head("metadata: {name: a}\nspec: {store: {postgres: {}}}\n"), "spec.store.postgres: one of"),
        (head("metadata: {name: a}\nspec: {objects: {}}\n"), "spec.objects: one of"),
        (
            head("metadata: {name: a}\nspec: {rollout: {bake: soon}}\n"),
            "spec.rollout.bake: “soon” is no length",
        ),
        (head("metadata: {name: a}\nspec: {rollout: {when: Never}}\n"), "spec.rollout.when"),
        (head("metadata: {name: a}\nspec: [\n"), "line"),
        (head("metadata: {name: a}\n\tspec: 1\n"), "line"),
        ("just text".to_owned(), "line 1"),
        ("- a\n- b\n".to_owned(), "line 1"),
        ("x".repeat(1024 * 1024 + 1), "larger than 1 MiB"),
    ] {
        let said = refusal(&text);
        assert!(said.contains(why), "{text:.200}\n  said: {said}\n  not: {why}");
        assert!(!said.contains('\n'), "{said:?}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut laughs = head(
        "metadata: {name: a}\nspec:\n  podTemplate:\n   spec:\n    a0: &a0 [x, x, x, x, x, x, x, x, x]\n",
    );
    for n in 1..12 {
        let refs = vec![format!("*a{}", n - 1); 9].join(", ");
        laughs.push_str(&format!("    a{n}: &a{n} [{refs}]\n"));
    }
    assert!(refusal(&laughs).contains("too large"), "{}", refusal(&laughs));
    let deep = head(&format!(
        "metadata: {{name: a}}\nspec: {{podTemplate: {{spec: {{x: {}}}}}}}\n",
        "[".repeat(5_000)
    ));
    assert!(HAController::parse(&deep).is_err());
    let block: String = (0..5_000).map(|n| format!("{}a:\n", " ".repeat(n.min(150) + 1))).collect();
    assert!(HAController::parse(&head(&format!("spec:\n{block}"))).is_err());
    let recursive = head("metadata: {name: a}\nspec: {podTemplate: {spec: &x {y: *x}}}\n");
    assert!(HAController::parse(&recursive).is_err());
}

#[test]
fn spans_are_read_as_people_write_them() {
    for (text, millis) in [("90s", 90_000), ("5m", 300_000), ("1h30m", 5_400_000), ("500ms", 500), ("0s", 0)]
    {
        assert_eq!(Span::parse(text), Some(Span(Duration::from_millis(millis))), "{text}");
    }
    for text in ["", "5", "m", "5x", "-1s", "1.5h", "99999999999999999999s", "18446744073709551615d", "é"] {
        assert_eq!(Span::parse(text), None, "{text}");
    }
}

#[test]
fn texts_are_written_as_they_are_read() {
    for text in ["90s", "500ms", "0s"] {
        assert_eq!(Span::parse(text).unwrap().to_string(), text);
    }
    for text in ["00:00", "09:05", "23:59"] {
        assert_eq!(TimeOfDay::parse(text).unwrap().to_string(), text);
    }
    for text in ["500Mi", "10Gi", "1T"] {
        assert_eq!(Size::parse(text).unwrap().to_string(), text);
    }
}

/// One change of a text: where, how far, and what comes there.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, &'static str)> {
    let spice = [
        "", "{", "}", "[", "]", ":", "- ", "\n", "\t", "*a", "&a ", "---\n", "!!x ", "|\n", "#", ",", "\"",
        "'", "\0", "é", "\u{feff}", "\r", "10", "-1", "null", "spec", "Window",
    ];
    (any::<prop::sample::Index>(), 0..12_usize, prop::sample::select(spice.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_in_a_file_it_is_read_or_refused_in_one_line(changes in prop::collection::vec(change(), 1..6)) {
        let mut text: Vec<char> = FULL.chars().collect();
        for (place, length, spice) in changes {
            let from = place.index(text.len() + 1);
            text.splice(from..(from + length).min(text.len()), spice.chars());
        }
        let text: String = text.into_iter().collect();
        match HAController::parse(&text) {
            Ok(controller) => drop(local_plan(&controller)),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{text}\n{error}"),
        }
    }
}
