//! Whatever bytes come in, a parser answers; nothing panics and nothing takes long.

use crate::{ItemConfig, NodeConfig, new_pipeline_xml, with_disabled};

/// A small generator, so that a failure can be repeated: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }

    /// Some bytes deleted, doubled, replaced by bytes that mean something.
    fn mutate(&mut self, seed: &str) -> String {
        const SPICE: &[&str] = &[
            "<",
            ">",
            "/",
            "&",
            ";",
            "&#x1;",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "<?",
            "\"",
            "'",
            "=",
            "\0",
            "é",
            "{",
            "}",
            "[",
            "]",
            ":",
            "- ",
            "\n",
            "\t",
            "*a",
            "&a ",
            "---\n",
            "!!x ",
            "|\n",
            "#",
            "<!DOCTYPE",
            "\u{feff}",
            "\r",
            ",",
        ];
        let mut text: Vec<char> = seed.chars().collect();
        for _ in 0..=self.roll(6) {
            let at = self.roll(text.len() + 1);
            let upto = (at + self.roll(12)).min(text.len());
            match self.roll(3) {
                0 => drop(text.drain(at..upto)),
                1 => {
                    let copy: Vec<char> = text[at..upto].to_vec();
                    text.splice(at..at, copy);
                }
                _ => {
                    let spice = SPICE[self.roll(SPICE.len())];
                    text.splice(at..at, spice.chars());
                }
            }
        }
        text.into_iter().collect()
    }
}

#[test]
fn mutated_xml_never_panics_and_disabling_it_holds() {
    let seed = "<?xml version='1.1'?><flow-definition plugin=\"a@1\"><description>x &amp; y</description><properties>\
        <hudson.model.ParametersDefinitionProperty><parameterDefinitions><hudson.model.ChoiceParameterDefinition>\
        <name>N</name><choices><string>a</string></choices></hudson.model.ChoiceParameterDefinition>\
        </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties><definition \
        class=\"org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition\"><script><![CDATA[echo 'x']]></script></definition>\
        <disabled>false</disabled></flow-definition>";
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let text = dice.mutate(seed);
        let _ = NodeConfig::parse(&text);
        let Ok(ItemConfig::Job(job)) = ItemConfig::parse(&text) else { continue };
        assert!(!matches!(job.definition, crate::Definition::Freestyle(_)), "{text}");
        let again = ItemConfig::parse(&new_pipeline_xml(&job));
        assert_eq!(again.as_ref(), Ok(&ItemConfig::Job(job)), "{text}");
        for disabled in [true, false] {
            let changed = with_disabled(&text, disabled).unwrap();
            assert_eq!(ItemConfig::parse(&changed).unwrap().disabled(), disabled, "{text}\n{changed}");
        }
    }
}

#[test]
fn mutated_freestyle_jobs_never_panic() {
    let seed = "<project><scm class='hudson.scm.NullSCM'/><assignedNode>a</assignedNode><builders><hudson.tasks.Shell>\
        <command>echo &quot;x&quot;</command><unstableReturn>3</unstableReturn></hudson.tasks.Shell></builders><publishers>\
        <hudson.tasks.BuildTrigger><childProjects>a, b</childProjects><threshold><name>FAILURE</name></threshold>\
        </hudson.tasks.BuildTrigger></publishers><buildWrappers><hudson.plugins.build__timeout.BuildTimeoutWrapper><strategy \
        class='hudson.plugins.build_timeout.impl.AbsoluteTimeOutStrategy'><timeoutMinutes>3</timeoutMinutes></strategy>\
        </hudson.plugins.build__timeout.BuildTimeoutWrapper></buildWrappers></project>";
    let mut dice = Dice(99);
    for _ in 0..20_000 {
        let text = dice.mutate(seed);
        let Ok(config @ ItemConfig::Job(_)) = ItemConfig::parse(&text) else { continue };
        for disabled in [true, false] {
            let changed = ItemConfig::parse(&with_disabled(&text, disabled).unwrap()).unwrap();
            assert_eq!((changed.disabled(), changed.kind()), (disabled, config.kind()), "{text}");
        }
    }
}

#[test]
fn mutated_nodes_never_panic_and_are_written_as_read() {
    let seed = "<slave><name>a</name><remoteFS>/r</remoteFS><numExecutors>2</numExecutors><mode>NORMAL</mode>\
        <label>a \"b c\" d\\e 'f'</label></slave>";
    let mut dice = Dice(42);
    for _ in 0..20_000 {
        let text = dice.mutate(seed);
        let Ok(node) = NodeConfig::parse(&text) else { continue };
        let again = NodeConfig::parse(&node.to_xml()).unwrap();
        assert_eq!(
            (again.name, again.labels, again.executors),
            (node.name, node.labels, node.executors),
            "{text}"
        );
    }
}
