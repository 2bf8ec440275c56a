/** What one wants to save meets what somebody else has saved meanwhile. @module meeting */

import {shownDifference} from "./diff.js"
import {h, shown} from "./dom.js"
import {ago} from "./format.js"

/**
 * Show three texts, and let somebody choose.
 *
 * @param began what was there when editing began; `held` what is there now, `null` for nothing; `wanted` what was
 *     typed.
 * @param found the record that is held, or `null`.
 * @returns `theirs`, `mine`, or an empty text to go on editing.
 */
export function chosen({began, held, wanted, found}) {
  const says = found === null ? "It was deleted meanwhile, or has ended."
    : `It was changed meanwhile: version ${found.version} was written ${ago(found.timestamp)}.`
  const dialog = h("dialog", {class: "wide meeting", "aria-labelledby": "meeting"}, h("form", {method: "dialog"},
    h("h2", {id: "meeting"}, "Somebody else was here"), h("p", {}, says, " Nothing of yours is lost."),
    h("div", {class: "sides"},
      shownDifference("What they changed", began, held ?? ""),
      shownDifference("What you changed", began, wanted)),
    held === null ? null : shownDifference("From theirs to yours: what “Overwrite” does", held, wanted),
    h("p", {class: "buttons"},
      h("button", {value: ""}, "Go on editing"),
      h("button", {value: "theirs"}, held === null ? "Leave it deleted" : "Take theirs"),
      h("button", {value: "mine", class: "danger"}, held === null ? "Write it again" : "Overwrite"))))
  return shown(dialog)
}
