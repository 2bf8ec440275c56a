/** @module locks */

import {h} from "./dom.js"

export const title = "Locks"

export async function show(place) {
  place.append(h("h1", {}, title))
}
