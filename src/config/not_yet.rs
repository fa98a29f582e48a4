//! What the config can say one day, and is refused by its name until then.

use super::layers::join;
use super::remark::Remark;
use super::tree::{Kind, Node};

/// What is refused, and what is left unread because of it.
struct NotYet {
    /// `*` stands for any key or index.
    path: &'static str,
    /// Only this value is refused; `None`: the key is.
    value: Option<&'static str>,
    /// Without the value the table around it makes no sense: nothing of it is checked.
    whole_table: bool,
}

const fn key(path: &'static str) -> NotYet {
    NotYet {
        path,
        value: None,
        whole_table: false,
    }
}

const fn table_with(path: &'static str, value: &'static str) -> NotYet {
    NotYet {
        path,
        value: Some(value),
        whole_table: true,
    }
}

const NOT_YET: [NotYet; 3] = [
    key("admin"),
    table_with("accounts.*.generation", "new"),
    key("accounts.*.proxy"),
];

/// Takes what this version cannot do out of the tree. Gives back what to say, and the paths that
/// are gone.
pub(super) fn refuse(root: &mut Node) -> (Vec<Remark>, Vec<String>) {
    let mut remarks = Vec::new();
    let mut gone = Vec::new();
    for not_yet in &NOT_YET {
        let steps: Vec<&str> = not_yet.path.split('.').collect();
        let mut found = Vec::new();
        search(root, &steps, not_yet, "", &mut found);
        for (remark, path) in found {
            root.remove(&path);
            remarks.push(remark);
            gone.push(path);
        }
    }
    (remarks, gone)
}

fn search(
    node: &Node,
    steps: &[&str],
    not_yet: &NotYet,
    parent: &str,
    found: &mut Vec<(Remark, String)>,
) {
    if let [step, rest @ ..] = steps {
        for child in node.children() {
            if *step == "*" || child.path == join(&node.path, step) {
                search(child, rest, not_yet, &node.path, found);
            }
        }
        return;
    }
    let text = match (not_yet.value, &node.kind) {
        (None, _) => "is not supported by this version (leave it out)".to_owned(),
        (Some(value), Kind::Text(text) | Kind::Variable(text)) if value == text => {
            format!("`{value}` is not supported by this version (leave it out)")
        }
        _ => return,
    };
    let gone = if not_yet.whole_table {
        parent
    } else {
        &node.path
    };
    let remark = Remark {
        place: node.place.clone(),
        key: node.path.clone(),
        text,
    };
    found.push((remark, gone.to_owned()));
}
