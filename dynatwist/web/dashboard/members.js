/** @module members */

import {h} from "./dom.js"

export const title = "Members"

export async function show(place) {
  place.append(h("h1", {}, title))
}
