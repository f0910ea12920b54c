//! Defaults, file and overrides laid over each other, with the origin of every setting.

use std::collections::BTreeMap;
use std::fmt;

use sardonyx_train::TrainError;
use serde_json::{Map, Value, json};

use super::keys::{self, ALTERNATIVES};
use super::{TrainConfig, check};
use crate::error::{Error, Result};

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// In a file; line and column count from 1.
    File {
        name: String,
        line: usize,
        column: usize,
    },
    /// By an argument of the command line.
    Argument(String),
}

impl Origin {
    pub(super) fn argument(text: &str) -> Origin {
        Origin::Argument(text.to_owned())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Origin::Argument(text) => write!(f, "argument `{text}`"),
        }
    }
}

/// One thing that a layer says.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    path: String,
    action: Action,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Action {
    /// There is such a table, perhaps an empty one.
    Table,
    /// The key has this value.
    Value(Value),
    /// The key has its default again.
    Reset,
}

impl Setting {
    pub(super) fn table(path: &str, origin: Origin) -> Setting {
        let (path, action) = (path.to_owned(), Action::Table);
        Setting {
            path,
            action,
            origin,
        }
    }

    pub(super) fn value(path: &str, value: Value, origin: Origin) -> Setting {
        // A bare name stands for the alternative of that name.
        let path = match ALTERNATIVES.contains(&path) && value.is_string() {
            true => format!("{path}.name"),
            false => path.to_owned(),
        };
        let action = Action::Value(value);
        Setting {
            path,
            action,
            origin,
        }
    }

    pub(super) fn reset(path: &str, origin: Origin) -> Setting {
        let (path, action) = (path.to_owned(), Action::Reset);
        Setting {
            path,
            action,
            origin,
        }
    }

    /// The table whose alternative this chooses.
    fn chooses(&self) -> Option<&str> {
        let table = self.path.strip_suffix(".name")?;
        ALTERNATIVES.contains(&table).then_some(table)
    }
}

/// The settings so far.
#[derive(Debug)]
pub(super) struct Layers {
    tree: Value,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    pub(super) fn defaults() -> Layers {
        Layers {
            tree: default_tree(),
            origins: BTreeMap::new(),
        }
    }

    /// Lays settings over what is there. Which alternative a table is comes first, so that the
    /// order of the settings does not matter; another alternative starts from its own defaults.
    pub(super) fn add(&mut self, settings: Vec<Setting>) -> Result<()> {
        let (choices, others): (Vec<_>, Vec<_>) = settings
            .into_iter()
            .partition(|setting| setting.chooses().is_some());
        for setting in choices {
            let table = setting.chooses().expect("partitioned so").to_owned();
            let name = node(&mut self.tree, &setting.path);
            let same = matches!(&setting.action, Action::Value(value) if name == value);
            if !same {
                *node(&mut self.tree, &table) = json!({});
            }
            self.set(setting)?;
        }
        others.into_iter().try_for_each(|setting| self.set(setting))
    }

    fn set(&mut self, setting: Setting) -> Result<()> {
        let Setting {
            path,
            action,
            origin,
        } = setting;
        for (end, _) in path.match_indices('.') {
            let parent = node(&mut self.tree, &path[..end]);
            if !parent.is_object() && !parent.is_null() {
                let problem = format!("`{}` is a single value, not a table", &path[..end]);
                return Err(Error::config(origin.to_string(), problem));
            }
        }
        let problem = match &action {
            Action::Value(value) if keys::is_table(&path) => {
                Some(format!("`{path}` is a table, it cannot be {value}"))
            }
            Action::Table if keys::find(&path).is_some() => {
                Some(format!("`{path}` is a single value, it cannot be a table"))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Error::config(origin.to_string(), problem));
        }
        match action {
            Action::Value(value) => *node(&mut self.tree, &path) = value,
            Action::Table => {
                let table = node(&mut self.tree, &path);
                if table.is_null() {
                    *table = json!({});
                }
            }
            Action::Reset => match get(&default_tree(), &path) {
                Some(default) => *node(&mut self.tree, &path) = default.clone(),
                None => remove(&mut self.tree, &path),
            },
        }
        self.origins.insert(path, origin);
        Ok(())
    }

    /// The configuration, checked.
    pub(super) fn finish(self) -> Result<TrainConfig> {
        check::check_tree(&self.tree).map_err(|wrong| self.error(&wrong.path, &wrong.problem))?;
        let config: TrainConfig =
            serde_path_to_error::deserialize(&self.tree).map_err(|error| {
                let problem = check::plain_words(&error.inner().to_string());
                self.error(&error.path().to_string(), &problem)
            })?;
        check::check_values(&config).map_err(|error| match error {
            TrainError::Config { key, reason } => self.error(&key, &reason),
            other => Error::Train(other),
        })?;
        Ok(config)
    }

    /// A problem with a key, told with the place of its setting or of the nearest table around it.
    fn error(&self, path: &str, problem: &str) -> Error {
        let mut place = path;
        loop {
            if let Some(origin) = self.origins.get(place) {
                return Error::config(format!("{origin}: {path}"), problem);
            }
            match place.rfind('.') {
                Some(end) => place = &place[..end],
                None => return Error::config(path, problem),
            }
        }
    }
}

fn default_tree() -> Value {
    serde_json::to_value(TrainConfig::default()).expect("a configuration is plain data")
}

/// The value at a path; tables and an empty value are made where there is nothing.
fn node<'a>(tree: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.').fold(tree, |node, name| {
        if !node.is_object() {
            *node = Value::Object(Map::new());
        }
        node.as_object_mut()
            .expect("made an object above")
            .entry(name)
            .or_insert(Value::Null)
    })
}

fn get<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |node, name| node.get(name))
}

fn remove(tree: &mut Value, path: &str) {
    if let Some((table, name)) = path.rsplit_once('.')
        && let Some(table) = node(tree, table).as_object_mut()
    {
        table.remove(name);
    }
}
