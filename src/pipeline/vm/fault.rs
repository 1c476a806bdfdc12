//! Exceptions on their way, and the names of those that the machine itself throws.

use super::value::Value;

/// An exception that was not caught yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// One of ours; it becomes an object when it is thrown.
    Raised(Box<Raise>),
    Thrown(Value),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raise {
    pub(crate) class: &'static str,
    pub(crate) message: String,
    pub(crate) result: Option<crate::act::BuildResult>,
    pub(crate) fatal: bool,
    /// What an interruption comes from.
    pub(crate) why: Option<super::Why>,
}

impl Fault {
    pub(crate) fn new(class: &'static str, message: impl Into<String>) -> Fault {
        Fault::Raised(Box::new(Raise {
            class,
            message: message.into(),
            result: None,
            fatal: false,
            why: None,
        }))
    }

    pub(crate) fn argument(message: impl Into<String>) -> Fault {
        Fault::new(class::ARGUMENT, message)
    }

    pub(crate) fn abort(message: impl Into<String>) -> Fault {
        Fault::new(class::ABORT, message)
    }
}

impl From<crate::library::regex::Error> for Fault {
    fn from(error: crate::library::regex::Error) -> Fault {
        Fault::new("java.util.regex.PatternSyntaxException", error.to_string())
    }
}

pub(crate) mod class {
    pub(crate) const ABORT: &str = "hudson.AbortException";
    pub(crate) const ARGUMENT: &str = "java.lang.IllegalArgumentException";
    pub(crate) const ARITHMETIC: &str = "java.lang.ArithmeticException";
    pub(crate) const ASSERT: &str = "org.codehaus.groovy.runtime.powerassert.PowerAssertionError";
    pub(crate) const BOUNDS: &str = "java.lang.IndexOutOfBoundsException";
    pub(crate) const CAST: &str = "org.codehaus.groovy.runtime.typehandling.GroovyCastException";
    pub(crate) const CONTEXT: &str = "org.jenkinsci.plugins.workflow.steps.MissingContextVariableException";
    pub(crate) const ELEMENT: &str = "java.util.NoSuchElementException";
    pub(crate) const ERROR: &str = "java.lang.Error";
    pub(crate) const FAIL_FAST: &str = "org.jenkinsci.plugins.workflow.cps.steps.ParallelStep$FailFastCause";
    pub(crate) const FILE: &str = "java.nio.file.NoSuchFileException";
    pub(crate) const INTERRUPTED: &str = "org.jenkinsci.plugins.workflow.steps.FlowInterruptedException";
    pub(crate) const IO: &str = "java.io.IOException";
    pub(crate) const MEMORY: &str = "java.lang.OutOfMemoryError";
    pub(crate) const METHOD: &str = "groovy.lang.MissingMethodException";
    pub(crate) const NO_STEP: &str = "java.lang.NoSuchMethodError";
    pub(crate) const NULL: &str = "java.lang.NullPointerException";
    pub(crate) const NUMBER: &str = "java.lang.NumberFormatException";
    pub(crate) const PROPERTY: &str = "groovy.lang.MissingPropertyException";
    pub(crate) const REJECTED: &str = "org.jenkinsci.plugins.scriptsecurity.sandbox.RejectedAccessException";
    pub(crate) const STACK: &str = "java.lang.StackOverflowError";
    pub(crate) const STATE: &str = "java.lang.IllegalStateException";
    pub(crate) const STRING_BOUNDS: &str = "java.lang.StringIndexOutOfBoundsException";
    pub(crate) const TIMEOUT: &str =
        "org.jenkinsci.plugins.workflow.steps.TimeoutStepExecution$ExceededTimeout";
    pub(crate) const UNSUPPORTED: &str = "java.lang.UnsupportedOperationException";
    pub(crate) const USER: &str = "jenkins.model.CauseOfInterruption$UserInterruption";
}
