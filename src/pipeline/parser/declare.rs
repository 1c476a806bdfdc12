//! What gives names: variables, functions, their parameters and types, annotations.

use super::{Parsed, Parser, scan};
use crate::ast::{Function, Local, Parameter, Pos, Stmt, StmtKind};
use crate::lexer::Tok;

const LIBRARY: &str = "shared libraries (@Library) do not run in Majordomo yet";

/// Which modifiers stood before a declaration.
#[derive(Default)]
pub(super) struct Modifiers {
    pub(super) is_static: bool,
}

impl Parser<'_> {
    /// `final`, `private`, `static` …: only `static` in a class means something here.
    pub(super) fn skip_modifiers(&mut self) -> Modifiers {
        let mut modifiers = Modifiers::default();
        while let Some(word) = self.word()
            && scan::modifier(word)
        {
            modifiers.is_static |= word == "static";
            self.next();
            self.skip_newlines();
        }
        modifiers
    }

    /// `@Name(…)`, any number of them, also on lines of their own; says whether `@Field` is among them.
    pub(super) fn skip_annotations(&mut self) -> Parsed<bool> {
        let mut field = false;
        while self.at("@") {
            let pos = self.pos();
            self.next();
            let mut name = self.name("the name of an annotation")?;
            while self.eat(".") {
                name = self.name("the name of an annotation")?;
            }
            field |= name == "Field";
            if name == "Library" {
                // Without the library its names are missing, far from the line that is the reason.
                return Err(self.refuse(pos, LIBRARY));
            }
            if self.at("(") {
                let after = self
                    .scan_brackets(0)
                    .ok_or_else(|| self.error("the '(' that stands here is not closed"))?;
                self.at += after;
            }
            self.skip_newlines();
        }
        Ok(field)
    }

    /// A statement with annotations before it, or annotations alone.
    pub(super) fn annotated(&mut self, out: &mut Vec<Stmt>) -> Parsed<()> {
        let pos = self.pos();
        let field = self.skip_annotations()?;
        if self.at_word("_") {
            self.next();
            return Ok(());
        }
        if field {
            return self.script_fields(pos);
        }
        if self.at_statement_end() { Ok(()) } else { self.statement(out) }
    }

    /// The definition behind `@Field`.
    fn script_fields(&mut self, pos: Pos) -> Parsed<()> {
        const WHERE: &str = "@Field stands before the definition of a variable at the top level";
        let mut defined = Vec::new();
        if self.blocks > 0 || !self.at_declaration() {
            return Err(self.refuse(pos, WHERE));
        }
        self.declaration(&mut defined)?;
        if defined.is_empty() {
            return Err(self.refuse(pos, WHERE));
        }
        for Stmt { pos, kind } in defined {
            let StmtKind::Define { names, tuple: false, value } = kind else {
                return Err(self.refuse(pos, WHERE));
            };
            let field = |name| Stmt { pos, kind: StmtKind::Field { name, value } };
            self.fields.extend(names.into_iter().next().map(field));
        }
        Ok(())
    }

    pub(super) fn at_declaration(&self) -> bool {
        let Some(word) = self.word() else { return false };
        let lock = word == "synchronized" && self.token(1).tok == Tok::Punct("(");
        word == "def" || (scan::modifier(word) && !lock && !self.class_ahead()) || self.at_typed_declaration()
    }

    /// `def x = 1`, `String a, b`, `def (a, b) = …`, `def f() { … }`
    pub(super) fn declaration(&mut self, out: &mut Vec<Stmt>) -> Parsed<()> {
        let pos = self.pos();
        self.skip_modifiers();
        self.eat_word("def");
        self.skip_modifiers();
        if self.at("<")
            && let Some(after) = self.scan_generics(0)
        {
            self.at += after;
        }
        if self.at("(") {
            out.push(self.tuple_definition(pos)?);
            return Ok(());
        }
        let ty = self.declared_type()?;
        if self.token(1).tok == Tok::Punct("(") {
            if self.blocks > 0 {
                return Err(self.error("a function can be defined at the top level and in classes only"));
            }
            let function = self.function(pos, ty)?;
            self.functions.push(function);
            return Ok(());
        }
        loop {
            let pos = self.pos();
            let name = self.name("the name of a variable")?;
            let value = if self.eat("=") {
                self.skip_newlines();
                Some(self.expression_statement()?)
            } else {
                None
            };
            let names = vec![Local { pos, name, ty: ty.clone() }];
            out.push(Stmt { pos, kind: StmtKind::Define { names, tuple: false, value } });
            if !self.eat(",") {
                return Ok(());
            }
            self.skip_newlines();
        }
    }

    /// `(a, int b) = value` behind `def`
    fn tuple_definition(&mut self, pos: Pos) -> Parsed<Stmt> {
        self.expect("(")?;
        let mut names = Vec::new();
        loop {
            self.eat_word("def");
            let ty = self.declared_type()?;
            let pos = self.pos();
            names.push(Local { pos, name: self.name("the name of a variable")?, ty });
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        self.expect("=")?;
        self.skip_newlines();
        let value = Some(self.expression_statement()?);
        Ok(Stmt { pos, kind: StmtKind::Define { names, tuple: true, value } })
    }

    /// The type before a name, if there is one.
    pub(super) fn declared_type(&mut self) -> Parsed<Option<String>> {
        let Some(ty) = self.scan_type(0) else { return Ok(None) };
        match &self.token(ty.end).tok {
            Tok::Name(name) if !scan::reserved(name) => Ok(Some(self.type_name()?)),
            Tok::Str(_) | Tok::Punct("...") => Ok(Some(self.type_name()?)),
            _ => Ok(None),
        }
    }

    /// `a.b.Name<…>[]`, as written but without generics.
    pub(super) fn type_name(&mut self) -> Parsed<String> {
        let Some(ty) = self.scan_type(0) else { return Err(self.expecting("a type")) };
        let end = self.at + ty.end;
        let mut name = String::new();
        let mut depth = 0_i32;
        while self.at < end {
            match self.next() {
                Tok::Punct("<") => depth += 1,
                Tok::Punct(">") => depth -= 1,
                Tok::Punct(">>") => depth -= 2,
                Tok::Punct(">>>") => depth -= 3,
                Tok::Punct(punct) if depth == 0 => name.push_str(punct),
                Tok::Name(part) if depth == 0 => name.push_str(&part),
                _ => {}
            }
        }
        Ok(name)
    }

    /// `name(parameters) throws X { … }`
    fn function(&mut self, pos: Pos, ty: Option<String>) -> Parsed<Function> {
        let (name, parameters) = self.signature()?;
        let body = self.block()?;
        Ok(Function { pos, name, returns: returned(ty), parameters, body, is_static: false })
    }

    /// A function up to its body.
    pub(super) fn signature(&mut self) -> Parsed<(String, Vec<Parameter>)> {
        let name = match self.peek() {
            Tok::Name(_) => self.take_name(),
            Tok::Str(_) => match self.next() {
                Tok::Str(name) => name,
                _ => String::new(),
            },
            _ => return Err(self.expecting("the name of a function")),
        };
        self.expect("(")?;
        let parameters = if self.at(")") { Vec::new() } else { self.parameters()? };
        self.expect(")")?;
        if matches!(self.after_newlines(), Tok::Name(word) if word == "throws") {
            self.skip_newlines();
            self.next();
            self.type_name()?;
            while self.eat(",") {
                self.skip_newlines();
                self.type_name()?;
            }
        }
        if matches!(self.after_newlines(), Tok::Punct("{")) {
            self.skip_newlines();
        }
        Ok((name, parameters))
    }

    /// `String a, b = 1, Object... rest`: at least one.
    pub(super) fn parameters(&mut self) -> Parsed<Vec<Parameter>> {
        let mut parameters = Vec::new();
        loop {
            self.skip_newlines();
            self.skip_annotations()?;
            self.skip_modifiers();
            self.eat_word("def");
            let ty = self.declared_type()?;
            let varargs = self.eat("...");
            let pos = self.pos();
            let name = self.name("the name of a parameter")?;
            let default = if self.eat("=") { Some(self.expression()?) } else { None };
            parameters.push(Parameter { pos, name, ty, default, varargs });
            if !self.eat(",") {
                return Ok(parameters);
            }
        }
    }
}

/// What a type before a function says of its value.
pub(super) fn returned(ty: Option<String>) -> Option<String> {
    ty.filter(|ty| ty != "void")
}
