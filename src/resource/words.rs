//! Enums whose words users read, each word with what it means: `kubectl explain` shows them.

/// `words! { /// What it is. pub enum End { /// It was stopped. Stopped, } }`: the words are the names of the variants.
macro_rules! words {
    ($(#[doc = $about:literal])+ $vis:vis enum $name:ident {
        $($(#[doc = $meaning:literal])+ $word:ident),+ $(,)?
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $vis enum $name {
            $($(#[doc = $meaning])+ $word),+
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$word),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$word => stringify!($word)),+
                }
            }

            pub fn meaning(self) -> &'static str {
                match self {
                    $($name::$word => concat!($($meaning),+).trim_ascii()),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words: Vec<_> = $name::ALL.iter().map(|word| word.as_str()).collect();
                let mut about = concat!($($about),+).trim_ascii().to_owned();
                for word in $name::ALL {
                    about.push_str(&format!("\n\n{word}: {}", word.meaning()));
                }
                schemars::json_schema!({ "type": "string", "enum": words, "description": about })
            }
        }
    };
}

pub(crate) use words;
