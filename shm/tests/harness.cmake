# The operations of shm in the stepper and in the simulator.
thole_test(shm_step_test COMPONENTS shm LIBRARIES thole_step_main LABELS step
  SOURCES operations.cc harness_world.cc)
thole_test(shm_sim_test VARIANT sim COMPONENTS shm LIBRARIES thole_sim_main LABELS sim
  SOURCES operations.cc harness_world.cc)
