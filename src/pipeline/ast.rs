//! What a parsed Jenkinsfile is: Groovy as a tree, and Declarative as a checked model.
//!
//! Plain values with positions. The lexer and parser make it, the compiler reads it; nothing else does.

pub use model::{BuildDiscarder, ParameterDefinition, ParameterKind};
use serde::{Deserialize, Serialize};

/// Where something stands in the source: line and column, both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Pos {
    pub line: u32,
    pub column: u32,
}

/// A whole source file. Functions and classes are hoisted out of `statements`, their order kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    pub statements: Vec<Stmt>,
    pub functions: Vec<Function>,
    pub classes: Vec<Class>,
}

/// `def name(a, b = 1) { … }` at the top level or in a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    pub pos: Pos,
    pub name: String,
    /// The declared type of what it returns; `None` for `def`, `void` and constructors.
    pub returns: Option<String>,
    pub parameters: Vec<Parameter>,
    pub body: Vec<Stmt>,
    pub is_static: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub pos: Pos,
    pub name: String,
    /// The declared type as written, generics dropped; `None` for `def` or nothing.
    pub ty: Option<String>,
    pub default: Option<Expr>,
    /// `Object... rest`
    pub varargs: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    pub pos: Pos,
    pub name: String,
    pub extends: Option<String>,
    pub fields: Vec<Field>,
    pub methods: Vec<Function>,
    /// `enum` constants; empty for a class.
    pub constants: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub pos: Pos,
    pub name: String,
    pub ty: Option<String>,
    pub value: Option<Expr>,
    pub is_static: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stmt {
    pub pos: Pos,
    pub kind: StmtKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StmtKind {
    Expr(Expr),
    /// `def x = 1`, `String s`, `def (a, b) = [1, 2]` (`tuple`).
    Define {
        names: Vec<Local>,
        tuple: bool,
        value: Option<Expr>,
    },
    /// `@Field def x = 1`: a variable of the whole script, set before its first statement.
    Field {
        name: Local,
        value: Option<Expr>,
    },
    If {
        condition: Expr,
        then: Vec<Stmt>,
        otherwise: Vec<Stmt>,
    },
    While {
        label: Option<String>,
        condition: Expr,
        body: Vec<Stmt>,
        /// `do { } while (c)`: the body runs before the first look at the condition.
        body_first: bool,
    },
    /// `for (x in xs)` and `for (T x : xs)`
    ForIn {
        label: Option<String>,
        variable: String,
        iterable: Expr,
        body: Vec<Stmt>,
    },
    /// `for (init; condition; update)`
    For {
        label: Option<String>,
        init: Vec<Stmt>,
        condition: Option<Expr>,
        update: Vec<Expr>,
        body: Vec<Stmt>,
    },
    Switch {
        subject: Expr,
        cases: Vec<Case>,
    },
    Try {
        body: Vec<Stmt>,
        catches: Vec<Catch>,
        finally: Vec<Stmt>,
    },
    Throw(Expr),
    Return(Option<Expr>),
    Break(Option<String>),
    Continue(Option<String>),
    Block(Vec<Stmt>),
    Assert {
        condition: Expr,
        message: Option<Expr>,
        /// The condition as written, for the message of a failed assert.
        source: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Local {
    pub pos: Pos,
    pub name: String,
    pub ty: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub pos: Pos,
    /// `None` is `default:`.
    pub value: Option<Expr>,
    pub body: Vec<Stmt>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Catch {
    pub pos: Pos,
    /// Simple or qualified class names, several for `A | B`; empty catches what `Exception` does.
    pub types: Vec<String>,
    pub name: String,
    pub body: Vec<Stmt>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub pos: Pos,
    pub kind: ExprKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    Null,
    Bool(bool),
    /// A whole number without suffix, an `int` if it fits; hexadecimal, octal, binary and `_` are resolved.
    Int(i64),
    /// A whole number with an `L`.
    Long(i64),
    /// A number with a `D` or `F`.
    Double(f64),
    /// Whole numbers with a `G` or that do not fit an `i64`, and decimals, as written without suffix and `_`.
    Decimal(String),
    Str(String),
    /// A string with `${…}` or `$name.path` in it.
    GString(Vec<Part>),
    List(Vec<Expr>),
    /// Keys: an identifier is `Str`, `(expr)` is any expression. A `*:` spread is a key of `Spread`.
    Map(Vec<(Expr, Expr)>),
    Range {
        from: Box<Expr>,
        to: Box<Expr>,
        inclusive: bool,
    },
    /// A name: local, parameter, binding variable, or class.
    Name(String),
    This,
    Super,
    Property {
        object: Box<Expr>,
        name: Box<Expr>,
        safe: bool,
        /// `list*.name`
        spread: bool,
    },
    Index {
        object: Box<Expr>,
        index: Box<Expr>,
        safe: bool,
    },
    /// `f(a, k: v) { … }`, also the form without parentheses. A trailing closure is the last of `arguments`.
    Call {
        /// `None` for a call by plain name.
        object: Option<Box<Expr>>,
        /// A `Str` in nearly all cases; `"$name"()` gives a `GString`.
        name: Box<Expr>,
        arguments: Arguments,
        safe: bool,
        spread: bool,
    },
    /// `(expr)(args)`, `closures[0](args)`: the value itself is called.
    CallValue {
        callee: Box<Expr>,
        arguments: Arguments,
    },
    New {
        class: String,
        arguments: Arguments,
    },
    Closure {
        /// `None`: no arrow was written, so `it` is there.
        parameters: Option<Vec<Parameter>>,
        body: Vec<Stmt>,
    },
    Unary {
        op: UnaryOp,
        operand: Box<Expr>,
    },
    /// `++x`, `x++`, `--x`, `x--`
    Step {
        target: Box<Expr>,
        increment: bool,
        prefix: bool,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `target = value`, `target += value` (`op`). A list target is multiple assignment.
    Assign {
        target: Box<Expr>,
        op: Option<BinaryOp>,
        value: Box<Expr>,
    },
    /// `c ? a : b`; `a ?: b` has no `then`.
    Ternary {
        condition: Box<Expr>,
        then: Option<Box<Expr>>,
        otherwise: Box<Expr>,
    },
    InstanceOf {
        value: Box<Expr>,
        ty: String,
        negated: bool,
    },
    /// `value as Type`, `(Type) value`
    Cast {
        value: Box<Expr>,
        ty: String,
    },
    /// `object.&name`
    MethodPointer {
        object: Box<Expr>,
        name: String,
    },
    /// `*list` inside a list literal or arguments.
    Spread(Box<Expr>),
}

/// What a call is given: positional (a trailing closure last) and named, in source order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arguments {
    pub positional: Vec<Expr>,
    pub named: Vec<(Expr, Expr)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Text(String),
    Expr(Expr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    Not,
    Minus,
    Plus,
    BitNot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Pow,
    Equal,
    NotEqual,
    Identical,
    NotIdentical,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Compare,
    And,
    Or,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    ShiftRightUnsigned,
    In,
    NotIn,
    /// `=~`
    Find,
    /// `==~`
    Match,
    /// `?:` with assignment, `?=`
    Elvis,
}

/// A checked Declarative `pipeline { … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Declarative {
    pub pos: Pos,
    pub agent: AgentSpec,
    pub environment: Vec<(String, Expr)>,
    pub options: Options,
    pub parameters: Vec<ParameterDefinition>,
    pub stages: Vec<StageSpec>,
    pub post: Vec<Post>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AgentSpec {
    Any,
    None,
    /// `agent { label 'x' }` or `agent { node { label 'x' } }`
    Label {
        label: Expr,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct StageSpec {
    pub pos: Pos,
    pub name: String,
    /// `None`: the agent of the enclosing stage or pipeline.
    pub agent: Option<AgentSpec>,
    pub environment: Vec<(String, Expr)>,
    pub options: Options,
    pub when: Option<When>,
    pub body: StageBody,
    pub post: Vec<Post>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StageBody {
    Steps(Vec<Stmt>),
    Stages(Vec<StageSpec>),
    Parallel { stages: Vec<StageSpec>, fail_fast: bool },
}

#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// All of them must hold.
    pub conditions: Vec<WhenCondition>,
    pub before_agent: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum WhenCondition {
    Environment {
        name: Expr,
        value: Expr,
        ignore_case: bool,
    },
    /// `expression { … }`, and `equals` as a comparison.
    Expression(Vec<Stmt>),
    Equals {
        expected: Expr,
        actual: Expr,
    },
    Not(Box<WhenCondition>),
    AllOf(Vec<WhenCondition>),
    AnyOf(Vec<WhenCondition>),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// `timeout(time: 1, unit: 'HOURS')`
    pub timeout: Option<Timeout>,
    pub retry: Option<Expr>,
    pub timestamps: bool,
    pub skip_default_checkout: bool,
    pub disable_concurrent_builds: bool,
    /// `disableConcurrentBuilds(abortPrevious: true)`
    pub abort_previous: bool,
    pub build_discarder: Option<BuildDiscarder>,
    /// `parallelsAlwaysFailFast()`
    pub parallels_always_fail_fast: bool,
    /// `skipStagesAfterUnstable()`
    pub skip_stages_after_unstable: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Timeout {
    pub time: Expr,
    /// `NANOSECONDS` … `DAYS`; `MINUTES` when not given.
    pub unit: String,
    pub activity: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    pub pos: Pos,
    pub condition: PostCondition,
    pub body: Vec<Stmt>,
}

/// In the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PostCondition {
    Always,
    Changed,
    Fixed,
    Regression,
    Aborted,
    Success,
    Unsuccessful,
    Unstable,
    Failure,
    NotBuilt,
    Cleanup,
}
