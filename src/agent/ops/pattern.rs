//! Ant's patterns: `**` stands for any number of folders, `*` for any part of a name, `?` for one character; a pattern
//! that ends with `/` means everything below. Pure.

use remoting::ops::FileSet;

/// What Ant leaves out unless told otherwise.
const DEFAULT_EXCLUDES: [&str; 28] = [
    "**/*~",
    "**/#*#",
    "**/.#*",
    "**/%*%",
    "**/._*",
    "**/CVS",
    "**/CVS/**",
    "**/.cvsignore",
    "**/SCCS",
    "**/SCCS/**",
    "**/vssver.scc",
    "**/.svn",
    "**/.svn/**",
    "**/.git",
    "**/.git/**",
    "**/.gitattributes",
    "**/.gitignore",
    "**/.gitmodules",
    "**/.hg",
    "**/.hg/**",
    "**/.hgignore",
    "**/.hgsub",
    "**/.hgsubstate",
    "**/.hgtags",
    "**/.bzr",
    "**/.bzr/**",
    "**/.bzrignore",
    "**/.DS_Store",
];

/// A file set, ready to be asked.
#[derive(Debug)]
pub(super) struct Patterns {
    includes: Vec<Pattern>,
    excludes: Vec<Pattern>,
    case_sensitive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    segments: Vec<String>,
}

impl Patterns {
    pub(super) fn new(files: &FileSet) -> Patterns {
        let fold = |text: &str| if files.case_sensitive { text.to_owned() } else { text.to_lowercase() };
        let list = |text: &str| -> Vec<Pattern> {
            text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(|p| Pattern::new(&fold(p))).collect()
        };
        let mut includes = list(&files.includes);
        if includes.is_empty() {
            includes = list("**");
        }
        let mut excludes = list(&files.excludes);
        if files.default_excludes {
            excludes.extend(DEFAULT_EXCLUDES.iter().map(|p| Pattern::new(&fold(p))));
        }
        Patterns { includes, excludes, case_sensitive: files.case_sensitive }
    }

    /// Does a file belong to the set?
    pub(super) fn matches(&self, path: &str) -> bool {
        let path = self.fold(path);
        let names: Vec<&str> = path.split('/').collect();
        self.includes.iter().any(|p| p.matches(&names)) && !self.excludes.iter().any(|p| p.matches(&names))
    }

    /// Can anything in this folder belong to the set?
    pub(super) fn worth_entering(&self, dir: &str) -> bool {
        let dir = self.fold(dir);
        let names: Vec<&str> = dir.split('/').collect();
        let below = |p: &Pattern| p.segments.last().is_some_and(|last| last == "**") && p.matches(&names);
        self.includes.iter().any(|p| p.may_match_below(&names)) && !self.excludes.iter().any(below)
    }

    fn fold(&self, path: &str) -> String {
        if self.case_sensitive { path.to_owned() } else { path.to_lowercase() }
    }
}

impl Pattern {
    fn new(pattern: &str) -> Pattern {
        let mut pattern = pattern.replace('\\', "/");
        if pattern.ends_with('/') {
            pattern.push_str("**");
        }
        Pattern { segments: pattern.split('/').map(str::to_owned).collect() }
    }

    fn matches(&self, names: &[&str]) -> bool {
        let any_run = |segment: &String| segment == "**";
        glob(&self.segments, names, any_run, |segment, name| matches_name(segment, name))
    }

    /// Is there a path below the folder `names` that matches?
    fn may_match_below(&self, names: &[&str]) -> bool {
        for (i, name) in names.iter().enumerate() {
            match self.segments.get(i) {
                Some(segment) if segment == "**" => return true,
                Some(segment) if matches_name(segment, name) => {}
                Some(_) | None => return false,
            }
        }
        self.segments.len() > names.len()
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == name;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    glob(&pattern, &name, |c| *c == '*', |p, c| *p == '?' || p == c)
}

/// Matches `text` against `pattern`, in which some elements stand for any run. Going back to the last run is enough,
/// so the time is at most the product of the lengths, whatever the pattern.
fn glob<P, T>(pattern: &[P], text: &[T], any_run: impl Fn(&P) -> bool, one: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(element) if any_run(element) => {
                back = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(element) if one(element, &text[t]) => {
                p += 1;
                t += 1;
                continue;
            }
            Some(_) | None => {}
        }
        let Some((after, from)) = back else { return false };
        back = Some((after, from + 1));
        (p, t) = (after, from + 1);
    }
    pattern[p..].iter().all(any_run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(includes: &str, excludes: &str, default_excludes: bool, case_sensitive: bool) -> Patterns {
        let (includes, excludes) = (includes.to_owned(), excludes.to_owned());
        Patterns::new(&FileSet { includes, excludes, default_excludes, case_sensitive })
    }

    #[test]
    fn patterns_match_as_ants() {
        for (pattern, path, expected) in [
            ("**", "a/b/c.txt", true),
            ("*.txt", "c.txt", true),
            ("*.txt", "a/c.txt", false),
            ("**/*.txt", "c.txt", true),
            ("**/*.txt", "a/b/c.txt", true),
            ("a/**", "a/b/c", true),
            ("a/**", "ab/c", false),
            ("a/", "a/b/c", true),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("a/**/c", "a/c", true),
            ("a/**/b/**/c", "a/x/b/y/b/z/c", true),
            ("a/**/b/**/c", "a/x/y/c", false),
            ("?.c", "a.c", true),
            ("?.c", "ab.c", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("target\\*.jar", "target/x.jar", true),
            ("x.txt, y.txt", "y.txt", true),
            ("", "any/thing", true),
            ("*.TXT", "c.txt", false),
            ("é?", "éü", true),
            ("/abs", "abs", false),
        ] {
            assert_eq!(set(pattern, "", false, true).matches(path), expected, "{pattern} {path}");
        }
        assert!(set("*.TXT", "", false, false).matches("c.txt"));
        assert!(!set("**", "**/*.txt", false, true).matches("a/c.txt"));
    }

    #[test]
    fn default_excludes_leave_out_what_version_control_and_editors_leave() {
        let with = set("**", "", true, true);
        for path in [".git/config", "a/.git/HEAD", "a.txt~", "#x#", ".DS_Store", "a/CVS/x", ".gitignore"] {
            assert!(!with.matches(path), "{path}");
            assert!(set("**", "", false, true).matches(path), "{path}");
        }
        assert!(with.matches("a/git/x") && with.matches(".github/x"));
        assert!(!with.worth_entering("a/.git"));
    }

    #[test]
    fn folders_in_which_nothing_can_match_are_not_entered() {
        let set = set("target/*.jar,src/**/x", "src/big/**", false, true);
        assert!(set.worth_entering("target"));
        assert!(!set.worth_entering("target/classes"));
        assert!(!set.worth_entering("node_modules"));
        assert!(set.worth_entering("src/a/b"));
        assert!(!set.worth_entering("src/big") && !set.worth_entering("src/big/x"));
    }

    #[test]
    fn an_evil_pattern_takes_no_longer_than_others() {
        let evil = "**/".repeat(30) + &"*a".repeat(50) + "b";
        assert!(!set(&evil, "", false, true).matches(&("a/".repeat(60) + &"a".repeat(200))));
    }
}
