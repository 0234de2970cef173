#include "loader/augment/parameters.h"

#include <array>
#include <string>

namespace macadam {

void BorderFill::describe(Fields& fields) {
  fields.choice("border_mode", border, std::array<std::string, 2>{"reflect_101", "constant"});
  fields.color("value", value);
  fields.label("mask_value", mask_value, false);
}

}  // namespace macadam
