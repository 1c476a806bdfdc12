//! Declarative as a script: the checked model becomes one tree of maps, lists and closures, which the Groovy part
//! of the library walks. There is one machine for both syntaxes.

use super::references;
use crate::ast::{
    AgentSpec, Arguments, Declarative, Expr, ExprKind, Options, Pos, Post, PostCondition, Script, StageBody,
    StageSpec, Stmt, StmtKind, WhenCondition,
};

/// The name of the call that runs the tree; no script can write it.
pub(super) const RUN: &str = "declarative pipeline";

/// The script with its `pipeline { }` replaced.
pub(crate) fn desugar(script: &Script, model: &Declarative) -> Script {
    let mut script = script.clone();
    let run = Tree { pos: model.pos }.run(model);
    match script.statements.iter_mut().find(|s| crate::declarative::is_pipeline(s)) {
        Some(statement) => *statement = run,
        None => script.statements.push(run),
    }
    script
}

/// Makes parts of the tree that stand at one position.
#[derive(Clone, Copy)]
pub(super) struct Tree {
    pub(super) pos: Pos,
}

impl Tree {
    fn run(self, model: &Declarative) -> Stmt {
        let options = &model.options;
        let mut pairs = vec![
            ("agent", self.agent(Some(&model.agent))),
            ("environment", self.environment(&model.environment)),
            ("options", self.options(options)),
            ("stages", self.stages(&model.stages)),
            ("post", self.post(&model.post)),
        ];
        let flags = [
            ("skipCheckout", options.skip_default_checkout),
            ("failFast", options.parallels_always_fail_fast),
            ("skipAfterUnstable", options.skip_stages_after_unstable),
        ];
        pairs.extend(flags.map(|(name, flag)| (name, self.expr(ExprKind::Bool(flag)))));
        let arguments = Arguments { positional: vec![self.map(pairs)], named: Vec::new() };
        let name = Box::new(self.str(RUN));
        let call = ExprKind::Call { object: None, name, arguments, safe: false, spread: false };
        Stmt { pos: self.pos, kind: StmtKind::Expr(self.expr(call)) }
    }

    pub(super) fn expr(self, kind: ExprKind) -> Expr {
        Expr { pos: self.pos, kind }
    }

    pub(super) fn str(self, text: &str) -> Expr {
        self.expr(ExprKind::Str(text.to_owned()))
    }

    pub(super) fn null(self) -> Expr {
        self.expr(ExprKind::Null)
    }

    pub(super) fn map(self, pairs: Vec<(&str, Expr)>) -> Expr {
        self.expr(ExprKind::Map(pairs.into_iter().map(|(name, value)| (self.str(name), value)).collect()))
    }

    pub(super) fn list(self, items: Vec<Expr>) -> Expr {
        self.expr(ExprKind::List(items))
    }

    fn closure(self, body: &[Stmt]) -> Expr {
        self.expr(ExprKind::Closure { parameters: Some(Vec::new()), body: body.to_vec() })
    }

    /// `{ value }`: evaluated when and where it is wanted.
    fn later(self, value: &Expr) -> Expr {
        let body = [Stmt { pos: value.pos, kind: StmtKind::Expr(value.clone()) }];
        Tree { pos: value.pos }.closure(&body)
    }

    fn agent(self, agent: Option<&AgentSpec>) -> Expr {
        match agent {
            None => self.null(),
            Some(AgentSpec::None) => self.map(vec![("kind", self.str("none"))]),
            Some(AgentSpec::Any) => self.map(vec![("kind", self.str("any"))]),
            Some(AgentSpec::Label { label }) => {
                self.map(vec![("kind", self.str("label")), ("label", self.later(label))])
            }
        }
    }

    fn environment(self, pairs: &[(String, Expr)]) -> Expr {
        let pairs = references::ordered(pairs).into_iter();
        self.list(pairs.map(|(name, value)| self.list(vec![self.str(name), self.later(value)])).collect())
    }

    fn options(self, options: &Options) -> Expr {
        let timeout = options.timeout.as_ref().map_or_else(
            || self.null(),
            |t| {
                let activity = self.expr(ExprKind::Bool(t.activity));
                self.map(vec![
                    ("time", self.later(&t.time)),
                    ("unit", self.str(&t.unit)),
                    ("activity", activity),
                ])
            },
        );
        let retry = options.retry.as_ref().map_or_else(|| self.null(), |count| self.later(count));
        let timestamps = self.expr(ExprKind::Bool(options.timestamps));
        self.map(vec![("timeout", timeout), ("retry", retry), ("timestamps", timestamps)])
    }

    fn stages(self, stages: &[StageSpec]) -> Expr {
        self.list(stages.iter().map(|stage| Tree { pos: stage.pos }.stage(stage)).collect())
    }

    fn stage(self, stage: &StageSpec) -> Expr {
        let mut pairs = vec![
            ("name", self.str(&stage.name)),
            ("line", self.expr(ExprKind::Int(i64::from(stage.pos.line)))),
            ("agent", self.agent(stage.agent.as_ref())),
            ("environment", self.environment(&stage.environment)),
            ("options", self.options(&stage.options)),
            ("skipCheckout", self.expr(ExprKind::Bool(stage.options.skip_default_checkout))),
            ("post", self.post(&stage.post)),
        ];
        if let Some(when) = &stage.when {
            pairs.push(("when", self.conditions(&when.conditions)));
            pairs.push(("beforeAgent", self.expr(ExprKind::Bool(when.before_agent))));
        }
        match &stage.body {
            StageBody::Steps(steps) => pairs.push(("steps", self.closure(steps))),
            StageBody::Stages(stages) => pairs.push(("stages", self.stages(stages))),
            StageBody::Parallel { stages, fail_fast } => {
                pairs.push(("parallel", self.stages(stages)));
                pairs.push(("failFast", self.expr(ExprKind::Bool(*fail_fast))));
            }
        }
        self.map(pairs)
    }

    fn conditions(self, conditions: &[WhenCondition]) -> Expr {
        self.list(conditions.iter().map(|c| self.condition(c)).collect())
    }

    fn condition(self, condition: &WhenCondition) -> Expr {
        let pairs = match condition {
            WhenCondition::Environment { name, value, ignore_case } => vec![
                ("kind", self.str("environment")),
                ("name", self.later(name)),
                ("value", self.later(value)),
                ("ignoreCase", self.expr(ExprKind::Bool(*ignore_case))),
            ],
            WhenCondition::Expression(body) => {
                vec![("kind", self.str("expression")), ("test", self.closure(body))]
            }
            WhenCondition::Equals { expected, actual } => vec![
                ("kind", self.str("equals")),
                ("expected", self.later(expected)),
                ("actual", self.later(actual)),
            ],
            WhenCondition::Not(inner) => {
                vec![("kind", self.str("not")), ("of", self.list(vec![self.condition(inner)]))]
            }
            WhenCondition::AllOf(all) => vec![("kind", self.str("allOf")), ("of", self.conditions(all))],
            WhenCondition::AnyOf(any) => vec![("kind", self.str("anyOf")), ("of", self.conditions(any))],
        };
        self.map(pairs)
    }

    /// In the order in which the conditions run.
    fn post(self, post: &[Post]) -> Expr {
        let mut post: Vec<&Post> = post.iter().collect();
        post.sort_by_key(|p| p.condition);
        let items = post.into_iter().map(|p| {
            let tree = Tree { pos: p.pos };
            tree.map(vec![
                ("condition", tree.str(condition_name(p.condition))),
                ("body", tree.closure(&p.body)),
            ])
        });
        self.list(items.collect())
    }
}

fn condition_name(condition: PostCondition) -> &'static str {
    match condition {
        PostCondition::Always => "always",
        PostCondition::Changed => "changed",
        PostCondition::Fixed => "fixed",
        PostCondition::Regression => "regression",
        PostCondition::Aborted => "aborted",
        PostCondition::Failure => "failure",
        PostCondition::Success => "success",
        PostCondition::Unstable => "unstable",
        PostCondition::Unsuccessful => "unsuccessful",
        PostCondition::NotBuilt => "notBuilt",
        PostCondition::Cleanup => "cleanup",
    }
}
