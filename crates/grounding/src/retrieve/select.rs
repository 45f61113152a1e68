//! Which of the ordered candidates become hits: no larger piece twice, and less of the same where that is wanted. Pure.

use std::collections::{HashMap, HashSet};

use super::candidate::{Candidate, Left, Place, ordinal};
use super::request::Diversify;

/// Words that make one unit when texts are compared.
const SHINGLE: usize = 3;

/// What selection knows of a candidate.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// Its document.
    pub document: String,
    /// The larger piece that is read in its place.
    pub parent: Option<String>,
    /// Its text.
    pub text: String,
    /// Its vector, where there is one.
    pub vector: Option<Vec<f32>>,
}

/// Candidates in their final order: hits with their ranks, then the others with the reason. Candidates without an item
/// were too far behind to be looked at.
pub fn select(
    candidates: Vec<Candidate>,
    items: &HashMap<String, Item>,
    diversify: Diversify,
    top_k: usize,
) -> Vec<Candidate> {
    let reach = candidates.iter().take_while(|candidate| items.contains_key(&candidate.id)).count();
    let mut behind = candidates;
    let mut rest: Vec<Candidate> = behind.drain(..reach).collect();
    let relevance = relevance(&rest);
    let shingles: HashMap<&str, HashSet<u64>> = match diversify.near_duplicates.or(diversify.lambda) {
        None => HashMap::new(),
        Some(_) => items.iter().map(|(id, item)| (id.as_str(), shingles(&item.text))).collect(),
    };
    let alike = |a: &str, b: &str| match (&items[a].vector, &items[b].vector) {
        (Some(a), Some(b)) => cosine(a, b),
        _ => overlap(&shingles[a], &shingles[b]),
    };
    let mut hits: Vec<Candidate> = Vec::new();
    let mut cut: Vec<Candidate> = Vec::new();
    while hits.len() < top_k && !rest.is_empty() {
        let (place, worth) = match diversify.lambda {
            None => (0, None),
            Some(lambda) => {
                let worth = |candidate: &Candidate| {
                    let same = hits.iter().map(|hit| alike(&hit.id, &candidate.id)).fold(0.0, f64::max);
                    lambda * relevance[&candidate.id] - (1.0 - lambda) * same
                };
                let mut best = (0, worth(&rest[0]));
                for (place, candidate) in rest.iter().enumerate().skip(1) {
                    let worth = worth(candidate);
                    if worth > best.1 {
                        best = (place, worth);
                    }
                }
                (best.0, Some(best.1))
            }
        };
        let mut candidate = rest.remove(place);
        let item = &items[&candidate.id];
        let same_parent = |hit: &&Candidate| item.parent.is_some() && items[&hit.id].parent == item.parent;
        let of_document = hits.iter().filter(|hit| items[&hit.id].document == item.document).count();
        let nearly = |hit: &&Candidate| {
            diversify.near_duplicates.is_some_and(|least| {
                overlap(&shingles[hit.id.as_str()], &shingles[candidate.id.as_str()]) >= least
            })
        };
        let why = if let Some(hit) = hits.iter().find(same_parent) {
            Some(("parent", format!("the larger piece around it is already read with hit `{}`", hit.id)))
        } else if diversify.per_document.is_some_and(|most| of_document >= most) {
            let most =
                format!("document `{}` already has {of_document} hits, as many as are wanted", item.document);
            Some(("diversify", most))
        } else {
            hits.iter()
                .find(nearly)
                .map(|hit| ("diversify", format!("it says nearly the same as hit `{}`", hit.id)))
        };
        match why {
            Some((stage, why)) => {
                candidate.left = Some(Left { stage, why });
                cut.push(candidate);
            }
            None => {
                let rank = hits.len() + 1;
                candidate.rank = Some(rank);
                if diversify != Diversify::default() {
                    candidate.diversify = Some(Place { rank, score: worth.unwrap_or(candidate.score) });
                }
                hits.push(candidate);
            }
        }
    }
    rest.extend(behind);
    for (place, candidate) in rest.iter_mut().enumerate() {
        let rank = ordinal(hits.len() + place + 1);
        let why = format!("it is {rank}, and {top_k} hits are given");
        candidate.left.get_or_insert(Left { stage: "top_k", why });
    }
    hits.extend(rest);
    hits.extend(cut);
    hits
}

/// Scores from 0 to 1 over the candidates; all 1 where they are equal.
fn relevance(candidates: &[Candidate]) -> HashMap<String, f64> {
    let scores = || candidates.iter().map(|candidate| candidate.score);
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    let width = high - low;
    let share = |score: f64| if width > 0.0 { (score - low) / width } else { 1.0 };
    candidates.iter().map(|candidate| (candidate.id.clone(), share(candidate.score))).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 0.0 { dot(a, b) / length } else { 0.0 }
}

/// Digests of the runs of three words; of all words of a shorter text.
fn shingles(text: &str) -> HashSet<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .flat_map(|word| match word.is_ascii() {
            true => vec![word.to_ascii_lowercase()],
            // Scripts without blanks would be one word.
            false => word.to_lowercase().chars().map(String::from).collect(),
        })
        .collect();
    let digest = |run: &[String]| {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        hasher.finish()
    };
    match words.len() {
        0 => HashSet::new(),
        few if few < SHINGLE => [digest(&words)].into_iter().collect(),
        _ => words.windows(SHINGLE).map(digest).collect(),
    }
}

/// Shared part of both (Jaccard); two empty texts are the same.
fn overlap(a: &HashSet<u64>, b: &HashSet<u64>) -> f64 {
    let all = a.union(b).count();
    if all == 0 { 1.0 } else { a.intersection(b).count() as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id document text`, best first.
    fn case(lines: &[(&str, &str, &str)]) -> (Vec<Candidate>, HashMap<String, Item>) {
        let candidates = lines.iter().enumerate().map(|(place, (id, ..))| Candidate {
            id: (*id).to_owned(),
            score: 10.0 - place as f64,
            ..Candidate::default()
        });
        let items = lines.iter().map(|(id, document, text)| {
            let item = Item { document: (*document).to_owned(), text: (*text).to_owned(), ..Item::default() };
            ((*id).to_owned(), item)
        });
        (candidates.collect(), items.collect())
    }

    fn hits(selected: &[Candidate]) -> String {
        let hits = selected.iter().filter(|candidate| candidate.rank.is_some());
        hits.map(|candidate| candidate.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    const LINES: &[(&str, &str, &str)] = &[
        ("a", "one", "the parcel is sent with the first mail of the day"),
        ("b", "one", "money back within thirty days of the order"),
        ("c", "two", "The parcel is sent with the first mail of the day."),
        ("d", "two", "a lost card is blocked at once by phone"),
    ];

    #[test]
    fn nothing_is_left_out_unless_asked() {
        let (candidates, items) = case(LINES);
        let selected = select(candidates, &items, Diversify::default(), 3);
        assert_eq!(hits(&selected), "a b c");
        let left = selected[3].left.as_ref().unwrap();
        assert_eq!((left.stage, left.why.as_str()), ("top_k", "it is 4th, and 3 hits are given"));
    }

    #[test]
    fn near_duplicates_and_crowded_documents_make_room() {
        let (candidates, items) = case(LINES);
        let wanted = Diversify { near_duplicates: Some(0.9), ..Diversify::default() };
        let selected = select(candidates.clone(), &items, wanted, 3);
        assert_eq!(hits(&selected), "a b d");
        assert_eq!(selected[3].left.as_ref().unwrap().why, "it says nearly the same as hit `a`");
        let wanted = Diversify { per_document: Some(1), ..Diversify::default() };
        let selected = select(candidates, &items, wanted, 3);
        assert_eq!(hits(&selected), "a c");
        assert_eq!(
            selected[2].left.as_ref().unwrap().why,
            "document `one` already has 1 hits, as many as are wanted"
        );
    }

    #[test]
    fn marginal_relevance_prefers_what_is_new() {
        let (candidates, items) = case(LINES);
        let wanted = |lambda| Diversify { lambda: Some(lambda), ..Diversify::default() };
        assert_eq!(hits(&select(candidates.clone(), &items, wanted(1.0), 3)), "a b c");
        assert_eq!(hits(&select(candidates, &items, wanted(0.4), 3)), "a b d");
    }

    #[test]
    fn a_larger_piece_is_read_once() {
        let (candidates, mut items) = case(LINES);
        for id in ["a", "b"] {
            items.get_mut(id).unwrap().parent = Some("p".to_owned());
        }
        let selected = select(candidates, &items, Diversify::default(), 2);
        assert_eq!(hits(&selected), "a c");
        assert_eq!(selected[3].left.as_ref().unwrap().stage, "parent");
    }
}
