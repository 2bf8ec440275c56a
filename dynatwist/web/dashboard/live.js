/** @module live */

import {h} from "./dom.js"

export const title = "Live"

export async function show(place) {
  place.append(h("h1", {}, title))
}
