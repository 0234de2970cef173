#include "engine/plan/arena.h"

#include "base/to_size.h"

namespace macadam {

std::shared_ptr<const Buffer> ArenaMemory::request(size_t bytes) {
  if (!memory_ || memory_->bytes() < bytes) {
    memory_.reset();
    memory_ = std::make_shared<const Buffer>(device_, bytes);
  }
  return memory_;
}

Arena::Arena(const PlanLayout& layout, DType dtype, ArenaMemory& memory, Device device)
    : dtype_(dtype),
      device_(device),
      placement_(place_blocks(layout.blocks)),
      memory_(memory.request(placement_.arena)) {}

void* Arena::block(int id) const {
  return id < 0 ? nullptr : memory_->data() + placement_.offsets[to_size(id)];
}

Tensor Arena::tensor(const Place& place, const Graph& graph, Value v) const {
  if (!place.placed()) return {};
  Shape whole = graph.shape(v);
  whole.c = place.pixel_stride;
  const Tensor all(block(place.block), whole, dtype_, device_);
  Tensor tensor = all.channels(place.first_channel, graph.shape(v).c);
  tensor.spare = graph.stored_channels(v) - tensor.shape.c;
  require(place.first_channel + tensor.whole().shape.c <= place.pixel_stride,
          "a place holds all that its value is stored in");
  return tensor;
}

Tensor Arena::bytes_in(int id, Shape shape) const { return {block(id), shape, DType::u8, device_}; }

}  // namespace macadam
