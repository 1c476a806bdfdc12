//! A Freestyle job as a script: its configuration becomes one tree of maps and lists, which the Groovy part of the library
//! walks. No text of it is ever read as Groovy: every word is a constant.

use model::{Builder, Freestyle, Publisher};

use super::declarative::Tree;
use crate::ast::{Arguments, Expr, ExprKind, Pos, Script, Stmt, StmtKind};

/// The name of the call that runs the tree; no script can write it.
pub(super) const RUN: &str = "freestyle build";

/// The script of a job's builds.
pub(crate) fn script(job: &Freestyle) -> Script {
    let tree = Tree { pos: Pos::default() };
    let arguments = Arguments { positional: vec![tree.job(job)], named: Vec::new() };
    let name = Box::new(tree.str(RUN));
    let call = ExprKind::Call { object: None, name, arguments, safe: false, spread: false };
    let statement = Stmt { pos: tree.pos, kind: StmtKind::Expr(tree.expr(call)) };
    Script { statements: vec![statement], ..Script::default() }
}

impl Tree {
    fn job(self, job: &Freestyle) -> Expr {
        let timeout = job.timeout.as_ref().map_or_else(
            || self.null(),
            |t| {
                let (activity, fails) = (self.flag(t.activity), self.flag(t.fails));
                self.map(vec![("time", self.str(&t.time)), ("activity", activity), ("fails", fails)])
            },
        );
        self.map(vec![
            ("label", self.optional(job.label.as_deref())),
            ("customWorkspace", self.optional(job.custom_workspace.as_deref())),
            ("cleanBefore", self.flag(job.clean_before)),
            ("timeout", timeout),
            ("builders", self.list(job.builders.iter().map(|b| self.builder(b)).collect())),
            ("unheard", self.list(job.unheard.iter().map(|class| self.str(class)).collect())),
            ("publishers", self.list(job.publishers.iter().map(|p| self.publisher(p)).collect())),
        ])
    }

    fn builder(self, builder: &Builder) -> Expr {
        let process = |name: &str, step: &str, script: &str, unstable: Option<i32>| {
            let unstable = unstable.map_or_else(|| self.null(), |n| self.expr(ExprKind::Int(i64::from(n))));
            self.map(vec![
                ("name", self.str(name)),
                ("step", self.str(step)),
                ("script", self.str(script)),
                ("unstable", unstable),
            ])
        };
        match builder {
            Builder::Shell { command, unstable } => {
                process("Execute shell", "sh", &command.replace("\r\n", "\n").replace('\r', "\n"), *unstable)
            }
            Builder::Batch { command, unstable } => {
                process("Execute Windows batch command", "bat", command, *unstable)
            }
            Builder::Unknown { class } => self.map(vec![("name", self.str(class))]),
        }
    }

    fn publisher(self, publisher: &Publisher) -> Expr {
        let kind = |kind: &str| ("kind", self.str(kind));
        match publisher {
            Publisher::Archive {
                artifacts,
                excludes,
                allow_empty,
                only_if_successful,
                default_excludes,
                case_sensitive,
            } => self.map(vec![
                kind("archive"),
                ("artifacts", self.str(artifacts)),
                ("excludes", self.str(excludes)),
                ("allowEmpty", self.flag(*allow_empty)),
                ("onlyIfSuccessful", self.flag(*only_if_successful)),
                ("defaultExcludes", self.flag(*default_excludes)),
                ("caseSensitive", self.flag(*case_sensitive)),
            ]),
            Publisher::Clean { results } => {
                let results = results.iter().map(|result| self.str(result.as_str())).collect();
                self.map(vec![kind("clean"), ("results", self.list(results))])
            }
            Publisher::Trigger { jobs, threshold } => {
                let jobs = self.list(jobs.iter().map(|job| self.str(job)).collect());
                self.map(vec![kind("trigger"), ("jobs", jobs), ("threshold", self.str(threshold.as_str()))])
            }
        }
    }

    fn flag(self, flag: bool) -> Expr {
        self.expr(ExprKind::Bool(flag))
    }

    fn optional(self, text: Option<&str>) -> Expr {
        text.map_or_else(|| self.null(), |text| self.str(text))
    }
}
