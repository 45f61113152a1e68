// One record as JSON text; the next node checks it against the schema.
export default function (inputs) {
  return JSON.stringify({
    email: inputs.email,
    article: inputs.order.article,
    count: Number(inputs.order.count),
  });
}
