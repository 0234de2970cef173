// What a plan consists of, for `macadam info` and profiles.

#include "base/to_size.h"
#include "engine/plan/plan.h"

namespace macadam {

namespace {

bool lies_inside(const Tensor& part, const Tensor& whole) {
  const auto* begin = static_cast<const std::byte*>(whole.data);
  const auto* at = static_cast<const std::byte*>(part.data);
  return at >= begin && at < begin + to_size(whole.pixel_stride) * to_size(whole.shape.pixels()) *
                                         size_of(whole.dtype);
}

int64_t bytes_of(const Tensor& tensor) {
  return tensor.data == nullptr ? 0 : static_cast<int64_t>(tensor.whole().bytes());
}

/// What the second pass of a batch norm's gradient reads: nothing where dx is not wanted, and where
/// the first one has made the gradient of what is added, that.
int64_t again_bytes(const BatchNormDesc& desc, const Bindings& b) {
  const Tensor dskip = desc.adds ? b.input_gradients[1] : Tensor();
  const bool in_place = dskip.data != nullptr && dskip.data == b.output_gradient.data;
  // Nothing is written where that is dy.
  const int64_t unwritten = in_place && !desc.backward_reads_output() ? bytes_of(dskip) : 0;
  if (b.input_gradients[0].data == nullptr) return -unwritten;
  const bool made = dskip.data != nullptr && !b.accumulate[1];
  const int64_t y = !made && desc.backward_reads_output() ? bytes_of(b.output) : 0;
  return bytes_of(b.inputs[0]) + bytes_of(b.output_gradient) + y - unwritten;
}

}  // namespace

PlanCall Plan::call(Pass pass, size_t position) const {
  if (position == kCasts) {
    return {"", "cast", -1, 0, casts_of(pass).bytes()};
  }
  const Step& step = steps_[position];
  const Node& node = graph_.nodes()[position];
  const Bindings& b = pass == Pass::backward ? step.backward : step.forward;
  const auto packed = static_cast<int64_t>(step.needs.packed);
  const auto bytes = [](const Tensor& tensor) { return bytes_of(tensor); };
  const auto all = [&](const std::vector<Tensor>& tensors) {
    int64_t sum = 0;
    for (const Tensor& tensor : tensors) sum += bytes(tensor);
    return sum;
  };
  PlanCall call{node.name, std::string(kind_of(node.layer)), static_cast<int>(position), 0, packed};
  if (std::holds_alternative<ConcatLayer>(node.layer)) {
    // What lies in place already is not moved.
    const std::vector<Tensor>& parts = pass == Pass::backward ? b.input_gradients : b.inputs;
    const Tensor& whole = pass == Pass::backward ? b.output_gradient : b.output;
    for (const Tensor& part : parts) call.bytes += lies_inside(part, whole) ? 0 : 2 * bytes(part);
    return call;
  }
  // A batch norm passes again over what it took its sums of.
  const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
  const bool sums = norm != nullptr && options_.mode == Mode::train;
  if (sums && pass == Pass::forward && !norm->desc.frozen) call.bytes += bytes(b.inputs[0]);
  if (sums && pass == Pass::backward) call.bytes += again_bytes(norm->desc, b);
  if (pass == Pass::pack) {
    call.bytes += all(b.parameters);
  } else if (pass == Pass::forward) {
    call.flops = 2 * graph_.macs(node);
    call.bytes += all(b.inputs) + bytes(b.output);
  } else {
    const bool input_gradient = b.input_gradients[0].data != nullptr;
    call.flops = 2 * graph_.macs(node) * (int{step.learns} + int{input_gradient});
    call.bytes += b.only_pooled ? 0 : bytes(b.output_gradient);
    if (b.pooled_gradient.data != nullptr) {
      call.bytes += bytes(b.pooled_gradient) + bytes(b.pooled_index);
    }
    call.bytes += step.learns ? all(b.parameter_gradients) : 0;
    if (step.needs.backward_reads_input) call.bytes += all(b.inputs);
    if (step.needs.backward_reads_first) call.bytes += bytes(b.inputs[0]);
    if (step.needs.backward_reads_output) call.bytes += bytes(b.output);
    for (size_t k = 0; k < b.input_gradients.size(); ++k) {
      call.bytes += bytes(b.input_gradients[k]) * (b.accumulate[k] ? 2 : 1);
    }
  }
  return call;
}

std::vector<PlanCall> Plan::calls(Pass pass) const {
  std::vector<PlanCall> list;
  for_each_call(pass, [&](size_t position) { list.push_back(call(pass, position)); });
  return list;
}

std::vector<PlanLayer> Plan::layers() const {
  std::vector<PlanLayer> lines;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Node& node = graph_.nodes()[i];
    PlanLayer line{steps_[i].name,
                   std::string(kind_of(node.layer)),
                   steps_[i].layer->implementation(),
                   graph_.shape(node.output),
                   0,
                   0};
    for (int p : node.parameters) {
      const ParameterSpec& spec = graph_.parameters()[to_size(p)];
      line.parameters += spec.trainable() ? spec.shape.elements() : 0;
    }
    line.macs = graph_.macs(node);
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace macadam
