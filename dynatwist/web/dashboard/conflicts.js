/** @module conflicts */

import {h} from "./dom.js"

export const title = "Conflicts"

export async function show(place) {
  place.append(h("h1", {}, title))
}
