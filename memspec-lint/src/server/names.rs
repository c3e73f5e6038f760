//! What a `.mem` text defines, and what refers to it.

use std::ops::Range;

use memspec::lang::Tree;
use memspec::lang::tree::{Assign, Body, Expr, ExprKind, Import, Item, Name, Statement};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `let name = value`
    Let,
    /// `profile name { }`
    Profile,
    /// `import "file" as name`
    Import,
}

/// A name that is defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) kind: Kind,
    /// The name, where it is defined.
    pub(super) name: Name,
    /// All of it.
    pub(super) span: Range<usize>,
    /// Its value.
    pub(super) value: Range<usize>,
    /// Where else it stands.
    pub(super) uses: Vec<Range<usize>>,
    /// Where it can be used.
    pub(super) scope: Range<usize>,
}

/// A name of another file: what stands behind the dot in `name.other`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The file, as the import writes it.
    pub(super) file: String,
    /// Its name there.
    pub(super) name: String,
    /// Where it stands here.
    pub(super) span: Range<usize>,
}

/// Every name of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) definitions: Vec<Definition>,
    /// Names of other files.
    pub(super) members: Vec<Member>,
    /// The files that are imported, and where each is written.
    pub(super) files: Vec<(String, Range<usize>)>,
    /// Of each scope that is open, the `let`s.
    scopes: Vec<Vec<usize>>,
}

impl Names {
    /// The names of a tree.
    pub(super) fn of(tree: &Tree) -> Self {
        let end = tree.tokens.last().map_or(0, |token| token.span.end);
        let mut names = Names { scopes: vec![Vec::new()], ..Names::default() };
        for item in &tree.items {
            if let Item::Import(import) = item {
                names.import(import, end);
            }
        }
        for item in &tree.items {
            if let Item::Plan(plan) = item
                && plan.keyword.text == "profile"
                && let Some(name) = &plan.name
            {
                names.define(Kind::Profile, name, plan.span.clone(), plan.body.span.clone(), 0..end);
            }
        }
        for item in &tree.items {
            match item {
                Item::Let(assign) => names.assign(assign, end),
                Item::Plan(plan) => {
                    for parent in &plan.extends {
                        names.used(Kind::Profile, &parent.text, parent.span.clone());
                    }
                    names.scopes.push(Vec::new());
                    names.body(&plan.body, plan.body.span.end);
                    names.scopes.pop();
                }
                _ => {}
            }
        }
        names
    }

    /// The definition that a byte's word belongs to, and where that word is.
    pub(super) fn at(&self, offset: usize) -> Option<(&Definition, Range<usize>)> {
        let holds = |span: &Range<usize>| span.start <= offset && offset <= span.end;
        self.definitions.iter().find_map(|definition| {
            let own = std::iter::once(&definition.name.span).chain(&definition.uses).find(|span| holds(span))?;
            Some((definition, own.clone()))
        })
    }

    /// What can be used at a byte.
    pub(super) fn visible(&self, offset: usize, kind: Kind) -> impl Iterator<Item = &Definition> {
        self.definitions.iter().filter(move |definition| definition.kind == kind && definition.scope.contains(&offset))
    }

    fn define(
        &mut self,
        kind: Kind,
        name: &Name,
        span: Range<usize>,
        value: Range<usize>,
        scope: Range<usize>,
    ) -> usize {
        self.definitions.push(Definition { kind, name: name.clone(), span, value, uses: Vec::new(), scope });
        self.definitions.len() - 1
    }

    fn import(&mut self, import: &Import, end: usize) {
        let Some(file) = &import.path else { return };
        self.files.push((file.text.clone(), file.span.clone()));
        if let Some(alias) = &import.alias {
            self.define(Kind::Import, alias, import.span.clone(), file.span.clone(), 0..end);
        }
    }

    /// A `let`: it can be used below itself, up to `end`.
    fn assign(&mut self, assign: &Assign, end: usize) {
        let value = assign.value.as_ref();
        if let Some(value) = value {
            self.expression(value);
        }
        if assign.name.text.is_empty() {
            return;
        }
        let span = value.map_or(assign.span.end..assign.span.end, |value| value.span.clone());
        let definition = self.define(Kind::Let, &assign.name, assign.span.clone(), span, assign.span.end..end);
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(definition);
        }
    }

    fn body(&mut self, body: &Body, end: usize) {
        for statement in &body.statements {
            match statement {
                Statement::Let(assign) => self.assign(assign, end),
                Statement::Assign(assign) => assign.value.iter().for_each(|value| self.expression(value)),
                Statement::Block(block) => self.body(&block.body, end),
                Statement::Limit(limit) => {
                    self.expression(&limit.left);
                    limit.right.iter().for_each(|right| self.expression(right));
                }
                Statement::Assert(assert) => assert.condition.iter().for_each(|that| self.expression(that)),
                Statement::Error(_) => {}
            }
        }
    }

    fn expression(&mut self, expression: &Expr) {
        match &expression.kind {
            ExprKind::Word(word) => self.used(Kind::Let, word, expression.span.clone()),
            ExprKind::List(values) | ExprKind::Fit(values) | ExprKind::Sweep(values) | ExprKind::Call(_, values) => {
                values.iter().for_each(|value| self.expression(value));
            }
            ExprKind::Chain(first, more) => {
                self.expression(first);
                more.iter().for_each(|(_, operand)| self.expression(operand));
            }
            ExprKind::Unary(_, operand) => self.expression(operand),
            ExprKind::Quantity(_) | ExprKind::Text(_) | ExprKind::Hole => {}
        }
    }

    fn used(&mut self, kind: Kind, word: &str, span: Range<usize>) {
        if let Some((alias, name)) = word.split_once('.') {
            // with spaces around the dot it is not known where what stands
            if let Some(defined) = self.find(Kind::Import, alias).filter(|_| span.len() == word.len()) {
                let dot = span.start + alias.len();
                let written = self.definitions[defined].value.clone();
                let file = self.files.iter().find(|(_, span)| *span == written).map(|(file, _)| file.clone());
                self.definitions[defined].uses.push(span.start..dot);
                let (file, name) = (file.unwrap_or_default(), name.to_owned());
                self.members.push(Member { file, name, span: dot + 1..span.end });
            }
            return;
        }
        let defined = match kind {
            // the innermost, and of two in one scope the first, as when it is computed
            Kind::Let => self
                .scopes
                .iter()
                .rev()
                .find_map(|scope| scope.iter().copied().find(|&one| self.definitions[one].name.text == word)),
            kind => self.find(kind, word),
        };
        if let Some(defined) = defined {
            self.definitions[defined].uses.push(span);
        }
    }

    fn find(&self, kind: Kind, word: &str) -> Option<usize> {
        self.definitions.iter().position(|one| one.kind == kind && one.name.text == word)
    }
}
