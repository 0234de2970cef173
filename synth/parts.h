#pragma once
// The things that stand in a street. Each function appends to the world's list of items; nothing is
// drawn until the list is complete.

#include "synth/world.h"

namespace macadam::synth {

// ground.cpp and sky.cpp: what fills the rest of the picture.
void draw_ground(const World& world, Canvas& canvas);
void draw_sky(const World& world, Canvas& canvas);

// buildings.cpp

/// What kind of houses line the street.
enum class District { old_town, offices, houses, mixed };

/// A house whose front runs from z0 to z1 at `setback` behind the building line of side `which`.
/// Returns its height.
float add_building(World& world, int which, float z0, float z1, float setback, District district);
/// A wall (id 12), a fence (13) or a hedge (21) along the street at `offset` from its course.
void add_wall(World& world, int which, float z0, float z1, float offset);
void add_fence(World& world, int which, float z0, float z1, float offset);
void add_hedge(World& world, int which, float z0, float z1, float offset);
/// Houses and trees at the end of the street, so that it does not end in nothing.
void add_backdrop(World& world);

// vegetation.cpp
void add_tree(World& world, Vec3 foot, float height, bool bare);
void add_bush(World& world, Vec3 foot, float radius);

// vehicles.cpp; `ahead` is the direction that the vehicle faces.
void add_car(World& world, Vec3 center, Vec3 ahead);
void add_van(World& world, Vec3 center, Vec3 ahead);
void add_bus(World& world, Vec3 center, Vec3 ahead);
void add_truck(World& world, Vec3 center, Vec3 ahead);

// people.cpp
void add_person(World& world, Vec3 foot, Vec3 ahead, bool walking);
/// With or without somebody on it.
void add_bicycle(World& world, Vec3 foot, Vec3 ahead, bool ridden);
void add_motorcycle(World& world, Vec3 foot, Vec3 ahead, bool ridden);

// furniture.cpp; `towards_road` is +1 or -1 in x.
void add_lamp(World& world, Vec3 foot, float towards_road);
void add_sign(World& world, Vec3 foot);
void add_direction_board(World& world, Vec3 foot, float towards_road);
void add_traffic_light(World& world, Vec3 foot, float towards_road, bool over_road);
void add_bollard(World& world, Vec3 foot);
void add_bin(World& world, Vec3 foot);
void add_advertising_column(World& world, Vec3 foot);
void add_bonnet(World& world, Canvas& canvas);

// layout.cpp
void choose_light(World& world);
void choose_street(World& world);
void populate(World& world);

// develop.cpp

/// Turns the samples into pixels: haze, exposure, lens, sensor. Writes 3 * height * width bytes
/// and height * width ids.
void develop(const World& world, Random& random, Canvas& canvas, int height, int width,
             uint8_t* rgb, uint8_t* labels);

}  // namespace macadam::synth
