"""What training learns from.

recipe's data   -> readers          imu, thermal (published layouts), classes, pairs, unlabelled; shards
readers         -> augmentation     aligned (any sensor, and pairs of them): picture_, depth_, sound_augment, geometry;
                                    imu, thermal_augment, thermal_drawn
both            -> sources          batches of an edge, and what is held out; task says what training asks of them
"""
