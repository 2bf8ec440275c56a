/**
 * The browser's history, as far as this page has made it: which entry is shown, and how to go back to that.
 *
 * A browser says that the place has changed, and not which way: so each entry carries its number.
 *
 * @module entries
 */

let shown = 0, hash = null

/** Whether the browser is at another place than what is shown. */
export function hasMoved() { return location.hash !== hash }

/** The place where the browser is now is shown from now on. */
export function arrive() {
  shown = numberOf() ?? shown + 1
  replace(location.hash)
}

/** What is shown has another address from now on, in the same entry. */
export function replace(fresh) {
  history.replaceState({number: shown}, "", fresh || location.pathname + location.search)
  hash = location.hash
}

/** Go back to what is shown, whether the browser went on, or back. */
export function goBack() { history.go(shown - (numberOf() ?? shown + 1)) }

/** An entry that was made a moment ago has none: it comes behind the one that is shown. */
function numberOf() { return history.state?.number }
