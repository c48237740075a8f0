//! The files that the rules look at: from the disk, or made up by a test of the rules themselves.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Paths from the repository's root, with slashes, and what the files hold.
#[derive(Debug, Clone, Default)]
pub struct Tree(BTreeMap<String, String>);

/// The crates that the rules are about.
const CRATES: [&str; 3] = ["sync-core", "sync-server", "sync-client-ffi"];

/// Folders within folders; the house has four levels, so this many are a loop of links.
const DEPTH_MAX: usize = 16;

impl Tree {
    /// Reads the sources and manifests of the engine's crates under the repository's root.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        for name in CRATES {
            for file in ["Cargo.toml", "clippy.toml"] {
                let path = root.join(name).join(file);
                if path.exists() {
                    tree.0.insert(format!("{name}/{file}"), fs::read_to_string(path)?);
                }
            }
            tree.walk(&root.join(name).join("src"), &format!("{name}/src"), 0)?;
        }
        Ok(tree)
    }

    /// A tree out of paths and texts.
    pub fn of(files: &[(&str, &str)]) -> Self {
        files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect()
    }

    /// The same tree with one file more, or another text in it.
    #[must_use]
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.to_owned(), text.to_owned());
        self
    }

    /// What a file holds.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// All files, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    fn walk(&mut self, folder: &Path, name: &str, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other(format!("{name} is nested too deeply")));
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.walk(&path, &name, depth + 1)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.0.insert(name, fs::read_to_string(&path)?);
            }
        }
        Ok(())
    }
}

impl FromIterator<(String, String)> for Tree {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(files: T) -> Self {
        Self(files.into_iter().collect())
    }
}
