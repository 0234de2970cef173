#include "engine/plan/cast_list.h"

#include <vector>

namespace macadam {

CastList::CastList(std::span<const Convolution::Cast> casts, Stream& stream) {
  if (casts.empty()) return;
  from_ = casts.front().from.dtype;
  to_ = casts.front().to.dtype;
  std::vector<CastSegment> segments;
  for (const Convolution::Cast& cast : casts) {
    require(cast.from.dtype == from_ && cast.to.dtype == to_, "casts between the same dtypes");
    segments.push_back({cast.from.data, cast.to.data, cast.from.shape.elements(), vectors_});
    vectors_ += segments.back().vectors();
  }
  segments_ = Buffer(stream.device(), segments.size() * sizeof(CastSegment));
  copy_bytes(stream, segments_.data(), segments.data(), segments_.bytes());
  stream.synchronize();  // `segments` may die then
}

int64_t CastList::bytes() const {
  return vectors_ * CastSegment::kVector * static_cast<int64_t>(size_of(from_) + size_of(to_));
}

void CastList::run(ElementwiseOps& ops) const {
  const auto* first = reinterpret_cast<const CastSegment*>(segments_.data());
  ops.cast_all({first, segments_.bytes() / sizeof(CastSegment)}, from_, to_, vectors_);
}

}  // namespace macadam
