//! A test that reads the repository: the house rules that a compiler does not see.

mod manifest;
mod rules;
mod source;
mod tree;

pub use tree::Tree;

/// Every place where the tree breaks a rule, as `path:line: what is wrong`. Empty for a tidy one.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in tree.files() {
        if rules::is_ours(path) {
            let source = source::Source::read(text);
            rules::check_file(path, text, &source, &mut wrong);
        }
    }
    manifest::check(tree, &mut wrong);
    wrong
}
