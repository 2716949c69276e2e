/** What a user may have meant by a word that nobody knows. */

/**
 * Returns the known word from which one differs least; undefined when none is near enough to be meant.
 *
 * @param word as it was typed
 * @param known the words that there are
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  // A third of the letters may be wrong, so that a short word is not taken for any other.
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const each of known) {
    const edits = editDistance(word, each);
    // Half a word is as good as a slip of the finger.
    const distance = word.length > 1 && each.startsWith(word) ? Math.min(edits, 1) : edits;
    if (distance >= least) continue;
    least = distance;
    best = each;
  }
  return best;
}

/** How many letters must be put in, taken out, changed or swapped with the next to get the other word. */
function editDistance(from: string, to: string): number {
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1];
      let edits = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        edits = Math.min(edits, before[j - 2]! + 1);
      }
      next.push(edits);
    }
    before = row;
    row = next;
  }
  return row[to.length]!;
}
