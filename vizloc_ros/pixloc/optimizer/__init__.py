"""Pose of a camera, or of a rig, by alignment of its features with reference features (PixLoc, section 3.1).

=========== ======================================= ================================================================
PixLoc      symbol                                  here
=========== ======================================= ================================================================
Eq. 1       residual r = F_q[p_q] - F_k[p_k]        ``products.PointProducts.at``
Eq. 2       cost E = sum of w rho(||r||^2)          ``linearization.Linearization.cost``, rho: ``robust.BarronLoss``
Eq. 3       Jacobian J, Hessian H = J^T W J         ``linearization.linearize``, ``equations.NormalEquations``,
                                                    dp_q / d delta: ``projection.LevelCamera.jacobian``
Eq. 4       Levenberg-Marquardt update delta        ``equations.solve``
Eq. 5       pose update exp(delta) [R t]            ``projection.apply_left_update``
Eq. 6       weights w = u_q u_k, u = 1 / (1 + U)    ``confidences``: u_q of the image, u_k of the reference features;
                                                    w: ``linearization.ViewLinearization.confidences``
Eq. 7       learned damping lambda                  ``alignment_options.LearnedAlignment.dampings``
=========== ======================================= ================================================================

(R_0, t_0), the initial pose, is ``initial_poses`` of ``alignment.align``. A pose (R, t) is that of the rig,
rig_from_map; the camera of each ``View`` is fixed to it. One camera is a rig of one, so its pose is cam_from_map.
"""
