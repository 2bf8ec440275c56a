/** The secrets of the cluster and of its nodes, and how they are replaced. @module secrets */

import {h} from "./dom.js"
import * as rotation from "./rotation.js"
import * as storage from "./storage.js"

export const title = "Secrets"

export async function show(place, page) {
  const cluster = h("section", {"aria-labelledby": "of-cluster"}), nodes = h("section", {"aria-labelledby": "of-nodes"})
  place.append(h("h1", {class: "unseen"}, title), cluster, nodes)
  await Promise.all([rotation.show(cluster, page), storage.show(nodes, page)])
}
