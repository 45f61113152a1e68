//! Where each line's record stands in a journal: about seven bytes a line, shared between whoever reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowbench_core::event::Status;

/// Lines of a page. Few, so that line numbers far apart do not cost a large page each.
const PAGE: u64 = 64;

/// Bytes of a place: 46 bits of offset, which is 64 TiB of journal, and two of status.
const WIDTH: usize = 6;

/// Where one record stands, and how its line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    pub(crate) fn new(offset: u64, status: Status) -> Self {
        let code = match status {
            Status::Completed => 0,
            Status::Failed => 1,
            Status::Bypassed => 2,
            Status::Canceled => 3,
        };
        Self(offset << 2 | code)
    }

    pub(crate) fn offset(self) -> u64 {
        self.0 >> 2
    }

    pub(crate) fn status(self) -> Status {
        match self.0 & 3 {
            0 => Status::Completed,
            1 => Status::Failed,
            2 => Status::Bypassed,
            _ => Status::Canceled,
        }
    }
}

/// Places of consecutive lines. All zeros is no record: a journal begins with its header, so none stands at its start.
type Page = [[u8; WIDTH]; PAGE as usize];

/// The latest record of each line, by line number. A clone shares its pages; only those written afterwards are copied.
#[derive(Clone, Default)]
pub(crate) struct Places {
    pages: BTreeMap<u64, Arc<Page>>,
    count: u64,
}

impl Places {
    /// Notes a record; one of the same line that was noted before counts no longer.
    pub(crate) fn insert(&mut self, line: u64, place: Place) {
        let page = self.pages.entry(line / PAGE).or_insert_with(|| Arc::new([[0; WIDTH]; PAGE as usize]));
        let slot = &mut Arc::make_mut(page)[(line % PAGE) as usize];
        self.count += u64::from(*slot == [0; WIDTH]);
        slot.copy_from_slice(&place.0.to_le_bytes()[..WIDTH]);
    }

    /// Number of lines that have a record.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    pub(crate) fn get(&self, line: u64) -> Option<Place> {
        self.pages.get(&(line / PAGE)).and_then(|page| read(page, (line % PAGE) as usize))
    }

    /// All lines, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Place)> + '_ {
        self.iter_from(0)
    }

    /// The first line from this one on.
    pub(crate) fn next_from(&self, line: u64) -> Option<(u64, Place)> {
        self.iter_from(line).next()
    }

    fn iter_from(&self, first: u64) -> impl Iterator<Item = (u64, Place)> + '_ {
        self.pages.range(first / PAGE..).flat_map(move |(number, page)| {
            let start = number * PAGE;
            let skipped = first.saturating_sub(start) as usize;
            (skipped..PAGE as usize).filter_map(move |index| Some((start + index as u64, read(page, index)?)))
        })
    }
}

fn read(page: &Page, index: usize) -> Option<Place> {
    let mut bytes = [0; 8];
    bytes[..WIDTH].copy_from_slice(&page[index]);
    match u64::from_le_bytes(bytes) {
        0 => None,
        place => Some(Place(place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_record_of_each_line_is_found_in_line_order() {
        let mut places = Places::default();
        let far = u64::MAX;
        for (line, offset) in [(70, 100), (3, 300), (far, 400), (70, 1 << 40), (64, 600)] {
            places.insert(line, Place::new(offset, Status::Failed));
        }
        places.insert(3, Place::new(700, Status::Canceled));
        let all: Vec<(u64, u64)> = places.iter().map(|(line, place)| (line, place.offset())).collect();
        assert_eq!(all, [(3, 700), (64, 600), (70, 1 << 40), (far, 400)]);
        assert_eq!(places.len(), 4);
        assert_eq!(places.get(3).map(Place::status), Some(Status::Canceled));
        assert_eq!(places.get(4), None);
        assert_eq!(places.next_from(4).map(|(line, _)| line), Some(64));
        assert_eq!(places.next_from(71).map(|(line, _)| line), Some(far));
    }

    #[test]
    fn a_clone_stays_as_it_was_and_shares_what_did_not_change() {
        let mut places = Places::default();
        places.insert(0, Place::new(10, Status::Completed));
        places.insert(64, Place::new(20, Status::Completed));
        let before = places.clone();
        places.insert(1, Place::new(30, Status::Completed));
        assert_eq!((before.len(), places.len()), (2, 3));
        assert_eq!(before.get(1), None);
        assert!(Arc::ptr_eq(&before.pages[&1], &places.pages[&1]));
    }
}
