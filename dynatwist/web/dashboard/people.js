/** @module people */

import {h} from "./dom.js"

export const title = "People"

export async function show(place) {
  place.append(h("h1", {}, title))
}
