//! Secrets that are read again from where they came from.

use super::input_json::Customer;
use super::secret::{Origin, Secret, Unreadable};

impl Secret {
    /// Reads a file's secret anew; the others cannot change while the process lives.
    ///
    /// # Errors
    /// As [`Secret::from_file`].
    pub fn read_again(&self) -> Result<Self, Unreadable> {
        match self.origin() {
            Origin::File(path) => Self::from_file(path),
            Origin::InputJson { path, customer } => Customer::read(path, Some(customer), customer)
                .map(|customer| customer.key)
                .map_err(|why| Unreadable::InputJson(why.to_string())),
            Origin::Literal | Origin::Env(_) | Origin::Central => Ok(self.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "old\n").unwrap();
        let old = Secret::from_file(&path).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        let new = old.read_again().unwrap();
        assert_eq!(new.expose(), "new");
        assert_ne!(old, new);
        let literal = Secret::literal("x");
        assert_eq!(literal.read_again().unwrap(), literal);
    }
}
