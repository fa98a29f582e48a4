//! What the config can say one day, and is refused by its name until then.

use super::remark::Remark;
use super::tree::Node;

const NOT_YET: [&str; 1] = ["admin"];

/// Takes what this version cannot do out of the tree. Gives back what to say, and the paths that
/// are gone.
pub(super) fn refuse(root: &mut Node) -> (Vec<Remark>, Vec<String>) {
    let found = NOT_YET.iter().filter_map(|path| root.find(path));
    let remarks: Vec<Remark> = found
        .map(|node| Remark {
            place: node.place.clone(),
            key: node.path.clone(),
            text: "is not supported by this version (leave it out)".to_owned(),
        })
        .collect();
    let gone: Vec<String> = remarks.iter().map(|remark| remark.key.clone()).collect();
    for path in &gone {
        root.remove(path);
    }
    (remarks, gone)
}
