#include "engine/plan/cast_list.h"

#include <algorithm>

#include "base/to_size.h"

namespace macadam {

CastList::CastList(std::span<const Cast> casts, Stream& stream) {
  std::vector<std::vector<CastSegment>> segments;  // by group
  for (const Cast& cast : casts) {
    const DType from = cast.from.dtype, to = cast.to.dtype;
    const auto found = std::ranges::find_if(
        groups_, [&](const Group& group) { return group.from == from && group.to == to; });
    const auto at = found - groups_.begin();
    if (found == groups_.end()) {
      groups_.push_back({from, to});
      segments.emplace_back();
    }
    Group& group = groups_[to_size(at)];
    const int64_t rows = cast.transposed ? cast.from.shape.n : 1;
    segments[to_size(at)].push_back(
        {cast.from.data, cast.to.data, cast.from.shape.elements(), group.vectors, rows});
    group.vectors += segments[to_size(at)].back().vectors();
  }
  for (size_t i = 0; i < groups_.size(); ++i) {
    Buffer& buffer = groups_[i].segments;
    buffer = Buffer(stream.device(), segments[i].size() * sizeof(CastSegment));
    copy_bytes(stream, buffer.data(), segments[i].data(), buffer.bytes());
  }
  if (!groups_.empty()) stream.synchronize();  // `segments` may die then
}

int64_t CastList::bytes() const {
  int64_t sum = 0;
  for (const Group& group : groups_) {
    const auto element = static_cast<int64_t>(size_of(group.from) + size_of(group.to));
    sum += group.vectors * CastSegment::kVector * element;
  }
  return sum;
}

void CastList::run(ElementwiseOps& ops) const {
  for (const Group& group : groups_) {
    const auto* first = reinterpret_cast<const CastSegment*>(group.segments.data());
    ops.cast_all({first, group.segments.bytes() / sizeof(CastSegment)}, group.from, group.to,
                 group.vectors);
  }
}

}  // namespace macadam
