//! Lists.

use super::{OpenList, Writer, Written};
use crate::transcode::tables::Field;
use crate::wire::{Wire, WireError, WireReader};

impl<'t> Writer<'t> {
    pub(super) fn begin_list(&mut self, field: &Field) -> OpenList {
        let key = self.out.position();
        self.out.key(field);
        OpenList {
            key,
            start: self.out.position(),
        }
    }

    /// Writes the elements of one occurrence, each after a comma.
    #[inline]
    pub(super) fn elements(
        &mut self,
        field: &'t Field,
        is_packed: bool,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        if !is_packed {
            return self.element(field, reader, depth);
        }
        let range = reader.delimited()?;
        let mut packed = reader.part(range);
        while !packed.is_at_end() {
            self.element(field, &mut packed, depth)?;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn element(
        &mut self,
        field: &'t Field,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let start = self.out.position();
        self.out.byte(b',');
        if self.value(field, reader, depth)? == Written::Nothing {
            self.out.back_to(start);
        }
        Ok(())
    }

    pub(super) fn end_list(&mut self, list: OpenList) {
        if self.out.position() == list.start {
            self.out.back_to(list.key);
        } else {
            self.out.enclose(list.start, b'[', b']');
        }
    }

    /// Writes a whole list from its occurrences, each given by the position after its tag.
    pub(super) fn list(
        &mut self,
        field: &'t Field,
        occurrences: impl Iterator<Item = (Wire, usize)>,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let list = self.begin_list(field);
        for (wire, at) in occurrences {
            let is_packed = wire != field.wire();
            self.elements(
                field,
                is_packed,
                &mut WireReader::starting_at(at, bytes),
                depth,
            )?;
        }
        self.end_list(list);
        Ok(())
    }
}
