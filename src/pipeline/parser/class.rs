//! Classes, interfaces and enums.

use super::{Parsed, Parser, declare, scan};
use crate::ast::{Class, Field, Function, Pos};
use crate::lexer::Tok;

impl Parser<'_> {
    /// Whether `class`, `interface`, `enum` or `trait` stands here, after modifiers.
    pub(super) fn class_ahead(&self) -> bool {
        let mut at = 0;
        while let Tok::Name(word) = &self.token(at).tok {
            match word.as_str() {
                "class" | "interface" | "enum" => return matches!(self.token(at + 1).tok, Tok::Name(_)),
                "trait" => {
                    return matches!(self.token(at + 1).tok, Tok::Name(_))
                        && matches!(self.token(at + 2).tok, Tok::Punct("{"));
                }
                word if !scan::modifier(word) => return false,
                _ => at += 1,
            }
        }
        false
    }

    /// A whole class; it goes to the classes of the script, as do the ones in it.
    pub(super) fn class(&mut self) -> Parsed<()> {
        if self.blocks > 0 {
            return Err(self.error("a class can be defined at the top level only"));
        }
        let outer = self.enter()?;
        self.skip_modifiers();
        let pos = self.pos();
        let kind = self.take_name();
        let name = self.name("the name of a class")?;
        if self.at("<")
            && let Some(after) = self.scan_generics(0)
        {
            self.at += after;
        }
        let mut class = Class {
            pos,
            name,
            extends: None,
            fields: Vec::new(),
            methods: Vec::new(),
            constants: Vec::new(),
        };
        self.skip_newlines();
        if self.eat_word("extends") {
            class.extends = Some(self.type_name()?);
            self.more_types()?;
        }
        self.skip_newlines();
        if self.eat_word("implements") {
            self.type_name()?;
            self.more_types()?;
        }
        self.skip_newlines();
        self.expect("{")?;
        if kind == "enum" {
            self.constants(&mut class)?;
        }
        self.members(&mut class)?;
        self.expect("}")?;
        self.leave(outer);
        self.classes.push(class);
        Ok(())
    }

    /// `, B, C`: only interfaces, which have no meaning here.
    fn more_types(&mut self) -> Parsed<()> {
        while self.eat(",") {
            self.skip_newlines();
            self.type_name()?;
        }
        Ok(())
    }

    /// The constants that an enum begins with.
    fn constants(&mut self, class: &mut Class) -> Parsed<()> {
        loop {
            self.skip_newlines();
            let constant = match &self.token(1).tok {
                Tok::Punct("," | ";" | "}") | Tok::Newline => true,
                Tok::Punct("(") => {
                    return Err(self.error("a constant of an enum with arguments does not run here"));
                }
                _ => false,
            };
            if !constant || self.at("}") {
                return Ok(());
            }
            class.constants.push(self.name("a constant of the enum")?);
            self.skip_newlines();
            if !self.eat(",") {
                return Ok(());
            }
        }
    }

    fn members(&mut self, class: &mut Class) -> Parsed<()> {
        loop {
            self.skip_separators();
            if self.at("}") || self.at_end() {
                return Ok(());
            }
            self.skip_annotations()?;
            if self.class_ahead() {
                self.class()?;
            } else {
                self.class_member(class)?;
            }
            if !self.at("}") && !matches!(self.peek(), Tok::Newline | Tok::Punct(";")) {
                return Err(self.unexpected());
            }
        }
    }

    fn class_member(&mut self, class: &mut Class) -> Parsed<()> {
        let pos = self.pos();
        let mut is_static = self.skip_modifiers().is_static;
        self.eat_word("def");
        is_static |= self.skip_modifiers().is_static;
        if self.at("<")
            && let Some(after) = self.scan_generics(0)
        {
            self.at += after;
        }
        if self.at("{") {
            return Err(self.error("an initializer block does not run here: use a constructor"));
        }
        let ty = self.declared_type()?;
        if self.token(1).tok == Tok::Punct("(") {
            return self.method(class, pos, is_static, ty);
        }
        self.fields(class, is_static, ty)
    }

    /// A method; one without a body is a promise of an interface and is dropped.
    fn method(&mut self, class: &mut Class, pos: Pos, is_static: bool, ty: Option<String>) -> Parsed<()> {
        let constructor = ty.is_none() && self.at_word(&class.name);
        let (mut name, parameters) = self.signature()?;
        if constructor {
            "<init>".clone_into(&mut name);
        }
        if !self.at("{") && self.at_statement_end() {
            return Ok(());
        }
        let body = self.block()?;
        class.methods.push(Function {
            pos,
            name,
            returns: declare::returned(ty),
            parameters,
            body,
            is_static,
        });
        Ok(())
    }

    fn fields(&mut self, class: &mut Class, is_static: bool, ty: Option<String>) -> Parsed<()> {
        loop {
            let pos = self.pos();
            let name = self.name("the name of a field")?;
            let value = if self.eat("=") {
                self.skip_newlines();
                Some(self.expression()?)
            } else {
                None
            };
            class.fields.push(Field { pos, name, ty: ty.clone(), value, is_static });
            if !self.eat(",") {
                return Ok(());
            }
            self.skip_newlines();
        }
    }
}
