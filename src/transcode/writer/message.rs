//! Messages: which of the two paths writes their fields.

use super::{FastPathOutcome, Writer};
use crate::transcode::tables::{MessageShape, MessageTable};
use crate::wire::{WireError, WireReader};

impl<'t> Writer<'t> {
    /// Writes the message that `reader` holds.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one call a message, not two")]
    pub(crate) fn message(
        &mut self,
        id: u32,
        reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let message = &self.messages[id as usize];
        if message.shape == MessageShape::Object {
            self.object(message, reader, depth)
        } else {
            self.well_known(message, reader, depth)
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one call a message, not two")]
    pub(crate) fn object(
        &mut self,
        message: &'t MessageTable,
        reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let start = self.out.position();
        self.fields(message, reader, depth)?;
        self.out.enclose(start, b'{', b'}');
        Ok(())
    }

    /// Writes the fields of a message, each with a comma before it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one call a message, not two")]
    pub(crate) fn fields(
        &mut self,
        message: &'t MessageTable,
        reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        if self.use_slow_path {
            return self.sorted_fields(message, reader, depth);
        }
        let start = self.out.position();
        let fault =
            match self.fields_in_order(message, reader.bytes, reader.at..reader.end(), depth) {
                Ok(FastPathOutcome::Done) => return Ok(()),
                Ok(FastPathOutcome::OutOfOrder) => None,
                Err(fault) => Some(fault),
            };
        self.retry_on_slow_path(message, reader, depth, start, fault)
    }

    /// Takes back what the fast path wrote of a message, and takes the slow path.
    #[cold]
    fn retry_on_slow_path(
        &mut self,
        message: &'t MessageTable,
        reader: WireReader,
        depth: u32,
        start: usize,
        fault: Option<Box<WireError>>,
    ) -> Result<(), Box<WireError>> {
        if let Some(fault) = fault {
            // A value without a JSON form does no harm if a later one replaces it.
            if !fault.problem.is_about_content() {
                return Err(fault);
            }
        }
        self.out.back_to(start);
        self.use_slow_path = true;
        let result = self.sorted_fields(message, reader, depth);
        self.use_slow_path = false;
        result
    }
}
