// A model may answer with more than the label: take the first label that occurs in its answer.
const labels = ["billing", "outage", "account", "other"];

export default function (inputs) {
  const answer = String(inputs.answer).toLowerCase();
  const places = labels.map((label) => [answer.indexOf(label), label]).filter(([at]) => at >= 0);
  places.sort((a, b) => a[0] - b[0]);
  return { label: places.length > 0 ? places[0][1] : "other", raw: inputs.answer };
}
