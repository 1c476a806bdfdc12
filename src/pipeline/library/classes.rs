//! Names of classes: which ones there are, what they extend, and how they are written.

use std::sync::Arc;

use super::statics;
use crate::vm::value::{Instance, Object, Thrown, Value};
use crate::vm::{Fault, Vm, class, compare};

/// Exceptions, parents before children: full name and simple name of the parent.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("java.lang.Throwable", "Object"),
    ("java.lang.Exception", "Throwable"),
    ("java.lang.Error", "Throwable"),
    ("java.lang.RuntimeException", "Exception"),
    ("java.lang.IllegalArgumentException", "RuntimeException"),
    ("java.lang.IllegalStateException", "RuntimeException"),
    ("java.lang.NumberFormatException", "IllegalArgumentException"),
    ("java.lang.ArithmeticException", "RuntimeException"),
    ("java.lang.NullPointerException", "RuntimeException"),
    ("java.lang.ClassCastException", "RuntimeException"),
    ("java.lang.UnsupportedOperationException", "RuntimeException"),
    ("java.lang.SecurityException", "RuntimeException"),
    ("java.lang.IndexOutOfBoundsException", "RuntimeException"),
    ("java.lang.ArrayIndexOutOfBoundsException", "IndexOutOfBoundsException"),
    ("java.lang.StringIndexOutOfBoundsException", "IndexOutOfBoundsException"),
    ("java.util.NoSuchElementException", "RuntimeException"),
    ("java.util.ConcurrentModificationException", "RuntimeException"),
    ("java.util.regex.PatternSyntaxException", "IllegalArgumentException"),
    ("java.lang.InterruptedException", "Exception"),
    ("java.lang.CloneNotSupportedException", "Exception"),
    ("java.util.concurrent.TimeoutException", "Exception"),
    ("java.io.IOException", "Exception"),
    ("java.io.FileNotFoundException", "IOException"),
    ("java.io.UncheckedIOException", "RuntimeException"),
    ("java.nio.file.NoSuchFileException", "IOException"),
    ("hudson.AbortException", "IOException"),
    ("org.jenkinsci.plugins.workflow.steps.FlowInterruptedException", "InterruptedException"),
    ("org.jenkinsci.plugins.workflow.steps.MissingContextVariableException", "Exception"),
    ("org.jenkinsci.plugins.scriptsecurity.sandbox.RejectedAccessException", "SecurityException"),
    ("groovy.lang.GroovyRuntimeException", "RuntimeException"),
    ("groovy.lang.MissingPropertyException", "GroovyRuntimeException"),
    ("groovy.lang.MissingMethodException", "GroovyRuntimeException"),
    ("org.codehaus.groovy.runtime.typehandling.GroovyCastException", "ClassCastException"),
    ("java.lang.AssertionError", "Error"),
    ("org.codehaus.groovy.runtime.powerassert.PowerAssertionError", "AssertionError"),
    ("java.lang.NoSuchMethodError", "Error"),
    ("java.lang.OutOfMemoryError", "Error"),
    ("java.lang.StackOverflowError", "Error"),
];

/// Classes of values, with the full name.
const KNOWN: &[&str] = &[
    "java.lang.Object",
    "java.lang.String",
    "java.lang.CharSequence",
    "java.lang.Integer",
    "java.lang.Long",
    "java.lang.Short",
    "java.lang.Byte",
    "java.lang.Number",
    "java.lang.Double",
    "java.lang.Float",
    "java.lang.Boolean",
    "java.lang.Character",
    "java.lang.Math",
    "java.lang.System",
    "java.lang.StringBuilder",
    "java.lang.StringBuffer",
    "java.lang.Class",
    "java.lang.Iterable",
    "java.lang.Comparable",
    "java.math.BigDecimal",
    "java.math.BigInteger",
    "java.util.List",
    "java.util.ArrayList",
    "java.util.LinkedList",
    "java.util.Collection",
    "java.util.Collections",
    "java.util.Arrays",
    "java.util.Map",
    "java.util.HashMap",
    "java.util.LinkedHashMap",
    "java.util.TreeMap",
    "java.util.Set",
    "java.util.HashSet",
    "java.util.LinkedHashSet",
    "java.util.TreeSet",
    "java.util.Date",
    "java.util.UUID",
    "java.util.Objects",
    "java.util.regex.Pattern",
    "java.util.regex.Matcher",
    "java.math.RoundingMode",
    "java.util.TimeZone",
    "java.util.concurrent.TimeUnit",
    "groovy.lang.Closure",
    "groovy.lang.GString",
    "groovy.lang.IntRange",
    "groovy.json.JsonOutput",
    "groovy.json.JsonSlurper",
    "groovy.json.JsonSlurperClassic",
    "hudson.model.Result",
    "jenkins.model.CauseOfInterruption",
    class::USER,
    class::TIMEOUT,
    class::FAIL_FAST,
];

/// Classes that scripts of Jenkins use to get at the controller or its machine, and the packages where such are. Naming
/// one is answered with what it is, not with a variable that is not there.
const BEYOND: &[&str] = &[
    "Eval",
    "File",
    "FilePath",
    "Files",
    "GroovyShell",
    "Hudson",
    "Jenkins",
    "Paths",
    "ProcessBuilder",
    "Random",
    "Runtime",
    "Thread",
    "URL",
    "groovy",
    "hudson",
    "java",
    "javax",
    "jenkins",
];

pub(crate) fn is_beyond(name: &str) -> bool {
    BEYOND.contains(&name)
}

pub(crate) fn simple(name: &str) -> &str {
    name.rsplit(['.', '$']).next().unwrap_or(name)
}

fn exception(name: &str) -> Option<&'static (&'static str, &'static str)> {
    let simple_name = simple(name);
    EXCEPTIONS.iter().find(|e| simple(e.0) == simple_name)
}

pub(crate) fn is_exception(name: &str) -> bool {
    exception(name).is_some()
}

pub(crate) fn is_known(name: &str) -> bool {
    full(name) != name || name.contains('.') && (KNOWN.contains(&name) || is_exception(name))
}

/// The simple name of a class that is written in full, when there is such a class.
pub(crate) fn qualified(name: &str) -> Option<&str> {
    // A class inside of another one is written with a point and called with a dollar.
    let same = |known: &&str| known.replace('$', ".") == name.replace('$', ".");
    let known = KNOWN.iter().any(same) || EXCEPTIONS.iter().any(|e| e.0 == name);
    known.then(|| simple(name))
}

/// The full name; as given when the class is not one of ours.
pub(crate) fn full(name: &str) -> &str {
    let known = KNOWN.iter().find(|k| simple(k) == simple(name)).copied();
    known.or_else(|| exception(name).map(|e| e.0)).unwrap_or(name)
}

/// Whether an exception class is, or extends, the other.
fn extends(name: &str, wanted: &str) -> bool {
    let mut at = simple(name);
    loop {
        if at == wanted {
            return true;
        }
        match exception(at) {
            Some((_, parent)) => at = parent,
            None => return false,
        }
    }
}

pub(crate) fn is_instance(vm: &Vm, value: &Value, ty: &str) -> bool {
    let ty = simple(ty);
    if value.is_null() {
        return false;
    }
    if matches!(ty, "Object" | "def") {
        return true;
    }
    if let Some(Object::Instance(instance)) = vm.heap.object(value) {
        let mut at = instance.class.clone();
        for _ in 0..64 {
            if &*at == ty {
                return true;
            }
            match vm.program.image.class(&at).and_then(|c| c.parent.clone()) {
                Some(parent) => at = Arc::from(simple(&parent)),
                None => break,
            }
        }
        let cause = || [class::USER, class::TIMEOUT, class::FAIL_FAST].contains(&&*at);
        return extends(&at, ty) || ty == "CauseOfInterruption" && cause();
    }
    let own = vm.type_name(value);
    let own = simple(&own);
    match ty {
        "Number" => compare::is_number(value),
        "Integer" | "int" => matches!(value, Value::Int(_)),
        "Long" | "long" => matches!(value, Value::Long(_)),
        "Double" | "double" | "Float" | "float" => matches!(value, Value::Double(_)),
        "CharSequence" | "GString" | "String" => matches!(value, Value::Str(_)),
        "Boolean" | "boolean" => matches!(value, Value::Bool(_)),
        "Comparable" => matches!(value, Value::Str(_)) || compare::is_number(value),
        "List" | "ArrayList" => matches!(own, "ArrayList" | "IntRange"),
        "Collection" | "Iterable" => matches!(own, "ArrayList" | "IntRange" | "LinkedHashSet"),
        "Range" => own == "IntRange",
        "Map" | "HashMap" | "LinkedHashMap" => own == "LinkedHashMap",
        "Set" | "HashSet" | "LinkedHashSet" => own == "LinkedHashSet",
        "Closure" => matches!(vm.heap.object(value), Some(Object::Closure(_) | Object::Pointer(..))),
        "Entry" | "Map.Entry" => matches!(vm.heap.object(value), Some(Object::Entry(..))),
        _ => own == ty,
    }
}

/// `new Name(…)` of a class that the script did not define.
pub(crate) fn construct(vm: &mut Vm, name: &str, args: Vec<Value>) -> Result<Value, Fault> {
    if let Some((full, _)) = exception(name) {
        let thrown = vm.empty_thrown();
        let object = vm.exception(full, Thrown { ..thrown });
        vm.set_thrown(&object, &args);
        if *full == class::INTERRUPTED
            && let Some(Object::Instance(Instance { thrown: Some(thrown), .. })) = vm.heap.object_mut(&object)
        {
            thrown.result = Some(crate::act::BuildResult::Aborted);
        }
        return Ok(object);
    }
    statics::construct(vm, simple(name), args)
}

/// How `setScale` may round.
const ROUNDING: [&str; 5] = ["UP", "DOWN", "CEILING", "FLOOR", "HALF_UP"];

/// A static field.
pub(crate) fn constant(class: &str, name: &str) -> Option<Value> {
    Some(match (class, name) {
        ("Integer", "MAX_VALUE") => Value::Int(i32::MAX),
        ("Integer", "MIN_VALUE") => Value::Int(i32::MIN),
        ("Long", "MAX_VALUE") => Value::Long(i64::MAX),
        ("Long", "MIN_VALUE") => Value::Long(i64::MIN),
        ("Math", "PI") => Value::Double(std::f64::consts::PI),
        ("Math", "E") => Value::Double(std::f64::consts::E),
        ("Boolean", "TRUE") => Value::Bool(true),
        ("Boolean", "FALSE") => Value::Bool(false),
        ("Closure", "OWNER_FIRST" | "OWNER_ONLY") => Value::Int(0),
        ("Closure", "DELEGATE_FIRST" | "DELEGATE_ONLY") => Value::Int(1),
        ("BigDecimal", name) => {
            Value::str(name.strip_prefix("ROUND_").filter(|name| ROUNDING.contains(name))?)
        }
        ("RoundingMode", name) if ROUNDING.contains(&name) => Value::str(name),
        ("Pattern", "CASE_INSENSITIVE") => Value::Int(2),
        ("Pattern", "MULTILINE") => Value::Int(8),
        ("Pattern", "DOTALL") => Value::Int(32),
        ("Result", "SUCCESS" | "UNSTABLE" | "FAILURE" | "NOT_BUILT" | "ABORTED") => Value::str(name),
        (
            "TimeUnit",
            "NANOSECONDS" | "MICROSECONDS" | "MILLISECONDS" | "SECONDS" | "MINUTES" | "HOURS" | "DAYS",
        ) => Value::str(name),
        ("System", _) => return None,
        _ => return None,
    })
}

/// What a class that is not there says.
pub(crate) fn refused(what: &str) -> Fault {
    Fault::new(
        class::REJECTED,
        format!("Scripts not permitted to use {what}: it is not part of Majordomo's library"),
    )
}
