//! Spreads texts over batches. On the processor each thread takes batches of its own through the whole model:
//! their numbers stay in its cache and nobody waits for anybody between two layers. Texts stand in a batch one
//! behind the other, so nothing is padded; other devices pad, so there texts of similar length go together.

/// Tokens in a batch on the processor: few enough for a layer's rows to stay near the core (3 MB for the widest of
/// MiniLM), enough to make up for reading the weights.
const CPU_TOKENS: usize = 512;
/// Tokens, padding included, in a batch on other devices.
const DEVICE_TOKENS: usize = 16_384;

/// Puts texts of these lengths in batches, by index: longest first, so that the last batches are short ones.
pub(crate) fn plan(lengths: &[usize], threads: usize, is_on_cpu: bool) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let total: usize = lengths.iter().sum();
    let limit = if is_on_cpu { CPU_TOKENS.min(total.div_ceil(threads.max(1))) } else { DEVICE_TOKENS };
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut taken = 0;
    for index in order {
        // Sorted, so the first text of a batch tells what the others are padded to.
        let cost = match (is_on_cpu, batches.last()) {
            (true, _) | (_, None) => lengths[index],
            (false, Some(batch)) => lengths[batch[0]],
        };
        match batches.last_mut() {
            Some(batch) if taken + cost <= limit => {
                batch.push(index);
                taken += cost;
            }
            _ => {
                batches.push(vec![index]);
                taken = lengths[index];
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_batch() {
        let lengths: Vec<usize> = (0..500).map(|i| 1 + i * 7919 % 300).collect();
        for (threads, is_on_cpu) in [(1, true), (2, true), (64, true), (2, false)] {
            let batches = plan(&lengths, threads, is_on_cpu);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..500).collect::<Vec<_>>());
            assert!(batches.iter().all(|batch| !batch.is_empty()));
        }
    }

    #[test]
    fn few_texts_are_shared_by_the_threads() {
        assert_eq!(plan(&[10, 10, 10, 10], 2, true), [vec![0, 1], vec![2, 3]]);
        assert_eq!(plan(&[5], 2, true), [vec![0]]);
        assert_eq!(plan(&[], 2, true), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn a_text_longer_than_a_batch_has_one_of_its_own() {
        assert_eq!(plan(&[10, CPU_TOKENS * 3, 10], 2, true), [vec![1], vec![0, 2]]);
    }
}
