/** @module secrets */

import {h} from "./dom.js"

export const title = "Secrets"

export async function show(place) {
  place.append(h("h1", {}, title))
}
