#include "tests/kernels/op_cases.h"

#include <iterator>

namespace macadam::testing {

std::vector<OpCase> all_op_cases() {
  std::vector<OpCase> all = depthwise_cases();
  const auto append = [&](std::vector<OpCase> cases) {
    all.insert(all.end(), std::make_move_iterator(cases.begin()),
               std::make_move_iterator(cases.end()));
  };
#define MACADAM_APPEND(Family, name) append(name##_cases());
  MACADAM_OP_FAMILIES(MACADAM_APPEND)
#undef MACADAM_APPEND
  return all;
}

std::string Variant::suffix() const {
  return testing::suffix(layout) + (in_place ? "_in_place" : "") +
         (accumulate ? "_accumulate" : "");
}

std::vector<ShapeVariant> element_shapes() {
  return {{{1, 1, 1, 1}},
          {{1, 1, 7, 3}},
          {{2, 5, 9, 11}},
          {{3, 5, 9, 8}},
          {{2, 17, 23, 5}},
          {{1, 16, 32, 32}},
          {{1, 5, 9, 33}},
          {{2, 17, 23, 64}},
          {{1, 3, 1021, 11}},
          {{1, 2, 2047, 8}},
          {{2, 5, 9, 8}, Layout::slices},
          {{1, 16, 32, 32}, Layout::slices},
          {{3, 5, 9, 12}, Layout::slices},
          {{2, 5, 9, 8}, Layout::ragged_slices},
          {{2, 5, 9, 19}, Layout::ragged_slices},
          {{1, 17, 23, 31}, Layout::ragged_slices}};
}

}  // namespace macadam::testing
