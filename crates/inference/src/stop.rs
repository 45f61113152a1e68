//! Ends a text at stop strings, also those that arrive in pieces.

/// Lets text through up to the first stop string, and holds back what may become one.
#[derive(Clone, Debug)]
pub(crate) struct StopFilter {
    stops: Vec<String>,
    held: String,
}

impl StopFilter {
    pub(crate) fn new(stops: &[String]) -> Self {
        Self { stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(), held: String::new() }
    }

    /// Takes text in; gives out what is certain, and whether a stop string was met (it is not given out).
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let first = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = first {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let longest = self.stops.iter().map(|stop| self.overlap(stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - longest);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// The text ends: nothing can become a stop string any more.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end of the held text that begin this stop string.
    fn overlap(&self, stop: &str) -> usize {
        stop.char_indices()
            .map(|(at, _)| at)
            .skip(1)
            .filter(|&len| self.held.ends_with(&stop[..len]))
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::StopFilter;

    #[track_caller]
    fn check(stops: &[&str], pieces: &[&str], expected: &str, stopped: bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut filter = StopFilter::new(&stops);
        let mut text = String::new();
        for piece in pieces {
            let (certain, met) = filter.push(piece);
            text.push_str(&certain);
            if met {
                assert_eq!((text.as_str(), true), (expected, stopped));
                return;
            }
        }
        text.push_str(&filter.finish());
        assert_eq!((text.as_str(), false), (expected, stopped));
    }

    #[test]
    fn a_stop_string_ends_the_text_even_in_pieces() {
        check(&["\nUser:"], &["Hello", "\nUs", "er: more"], "Hello", true);
        check(&["ab"], &["aaab"], "aa", true);
        check(&["åäö"], &["xå", "ä", "ö"], "x", true);
    }

    #[test]
    fn what_only_looks_like_one_is_given_out_in_the_end() {
        check(&["\nUser:"], &["Hello", "\nUs"], "Hello\nUs", false);
        check(&["STOP"], &["ST", "AY"], "STAY", false);
        check(&[""], &["all"], "all", false);
    }

    #[test]
    fn the_first_of_several_wins() {
        check(&["two", "one"], &["zero one two"], "zero ", true);
    }
}
